/** The menus: guests log in or register, users read and post, administrators see to areas, too. Each operation leads back to its menu. */
import { confirm, input, number, password, select } from '@inquirer/prompts';
import { ExitError, exitCodes } from '@lab/process';
import { isPassword, nameRule, passwordRule, textProblem, typedName, type ItemName } from '../domain/names.ts';
import { nodesMax, pageItemsMax, type Item } from '../messages.ts';
import type { ClientConfig } from './commands.ts';
import { describeError, openDesk, sentence, watchAs, type Desk } from './desk.ts';
import { isSessionOver } from './member.ts';
import { accountOperations, administratorOperations, areaOperations, newsOperations, type Operations } from './operations.ts';
import { LeftError, prompted, withoutControls, write, type PromptContext, type Streams } from './terminal.ts';
import { changeText, counted, itemText, unreadText } from './texts.ts';

/** Shows menus until whoever sits there leaves, or the signal ends it. */
export async function runMenu(streams: Streams, settings: ClientConfig, signal: AbortSignal): Promise<void> {
  if (streams.stdin.isTTY !== true || streams.stdout.isTTY !== true)
    throw new ExitError('the menu needs a terminal; elsewhere use the commands, which "client --help" lists', exitCodes.usage);
  const desk = await openDesk(streams, { ...settings, json: false }, { anybody: true, signal });
  await new Menu(desk, signal).run();
}

interface Entry {
  readonly name: string;
  readonly run: () => Promise<void>;
}
interface Choice<T> {
  readonly name: string;
  readonly value: T;
}

/** Nothing is done, and the menu comes again; the message says why, where that is no choice of who was asked. */
class BackError extends Error {}

/** Each question leads back to the menu where there is nothing to choose, or whoever is asked wants that. */
export class Menu {
  readonly #desk: Desk;
  readonly #signal: AbortSignal;

  constructor(desk: Desk, signal: AbortSignal) {
    this.#desk = desk;
    this.#signal = signal;
  }

  /** Ends when the menu itself is left: whoever leaves a question comes back to it. */
  async run(): Promise<void> {
    for (;;) {
      const { title, entries } = this.#menu();
      const choices = entries.map((each) => ({ name: each.name, value: each.run }));
      const leave = { name: 'Leave', value: undefined };
      const run = await this.#choose<Entry['run'] | undefined>(title, [...choices, leave]).catch(unlessLeft);
      if (run === undefined) return;
      await this.#attempt(run).catch(unlessLeft);
      if (this.#signal.aborted) return;
    }
  }

  #menu(): { title: string; entries: readonly Entry[] } {
    const { member } = this.#desk;
    if (!member.isLoggedIn) return { title: 'News consortium', entries: this.#guestEntries };
    const { name, role } = member.kept;
    if (role === 'user') return { title: `User menu of ${name}`, entries: this.#userEntries };
    return { title: `Administrator menu of ${name}`, entries: [...this.#userEntries, ...this.#administratorEntries] };
  }

  /** A refusal is shown, and the menu goes on; without a session it is that of guests. */
  async #attempt(run: () => Promise<void>): Promise<void> {
    const interrupted = Promise.withResolvers<never>();
    const interrupt = (): void => interrupted.reject(new LeftError());
    this.#signal.addEventListener('abort', interrupt);
    try {
      await Promise.race([run(), interrupted.promise]);
    } catch (error) {
      if (error instanceof BackError) return await this.#show(error.message);
      const known = describeError(error);
      if (error instanceof LeftError || known === undefined) throw error;
      await this.#show(`${sentence(known)}\n`);
      if (isSessionOver(error)) await this.#desk.member.forget();
    } finally {
      this.#signal.removeEventListener('abort', interrupt);
    }
  }

  readonly #guestEntries: readonly Entry[] = [
    { name: 'Log in', run: () => this.#logIn() },
    { name: 'Register', run: () => this.#register() },
  ];
  readonly #userEntries: readonly Entry[] = [
    ...this.#entriesOf(newsOperations),
    { name: 'Watch what is posted', run: () => this.#watch() },
    ...this.#entriesOf(accountOperations),
  ];
  readonly #administratorEntries = [...this.#entriesOf(areaOperations), ...this.#entriesOf(administratorOperations)];

  #entriesOf(operations: Operations): Entry[] {
    return Object.values(operations).flatMap(({ menu = {}, run }) =>
      Object.entries(menu).map(([name, ask]) => ({ name, run: async () => run(this.#desk, await ask(this)) })),
    );
  }

  async #logIn(): Promise<void> {
    const name = await this.name('Name');
    await this.#desk.member.login(name, await this.#ask((context) => password({ message: 'Password:' }, context)));
  }

  async #register(): Promise<void> {
    const name = await this.name('Name');
    const validate = (text: string): true | string => isPassword(text) || `a password has ${passwordRule}`;
    const chosen = await this.#ask((context) => password({ message: 'Password:', validate }, context));
    const repeated = await this.#ask((context) => password({ message: 'Once more:' }, context));
    if (repeated !== chosen) throw new BackError('the two passwords differ: nothing was done\n');
    await this.#desk.member.ask('register', { name, password: chosen });
    await this.#desk.member.login(name, chosen);
  }

  async #watch(): Promise<void> {
    const { stdin } = this.#desk.streams;
    const enough = new AbortController();
    const end = (): void => enough.abort();
    await this.#show('watching your areas; Enter ends it\n');
    stdin.once('data', end).once('end', end).resume();
    try {
      await watchAs(this.#desk, {
        areas: [],
        onItem: (area, item) => this.#show(itemText(area, item)),
        onChange: (area, change) => this.#show(changeText(area, change)),
        signal: AbortSignal.any([enough.signal, this.#signal]),
      });
    } finally {
      stdin.off('data', end).off('end', end).pause();
    }
  }

  // Questions.

  /** An area of the user's. */
  async mine(message: string): Promise<string> {
    const areas = await this.#desk.member.myAreas();
    const choices = areas.map(({ area, unread }) => ({ name: `${area}, ${unreadText(unread)} unread`, value: area }));
    return this.#chooseOrBack(message, choices, 'you are subscribed to no area\n');
  }

  /** An area that is none of the user's. */
  async another(message: string): Promise<string> {
    const areas = await this.#desk.member.areas();
    const others = areas.filter(({ subscribed }) => !subscribed).map(({ area }) => ({ name: area, value: area }));
    return this.#chooseOrBack(message, others, 'there is no area that you are not subscribed to\n');
  }

  async any(message: string): Promise<string> {
    const { areas } = await this.#desk.member.status();
    const choices = areas.map(({ area, wanted }) => ({ name: `${area}, for ${counted(wanted, 'node')}`, value: area }));
    return this.#chooseOrBack(message, choices, 'there are no areas\n');
  }

  /** One of the newest that the user has posted. */
  async myItem(message: string): Promise<ItemName & Item> {
    const { member } = this.#desk;
    const area = await this.mine('In which area');
    const mine = (await member.read(area, pageItemsMax)).filter(({ author }) => author === member.kept.name).reverse();
    const choices = mine.map((item) => ({ name: firstLine(itemText(area, item)), value: item }));
    return {
      area,
      ...(await this.#chooseOrBack(message, choices, `of the newest ${pageItemsMax} items in ${area} none is yours\n`)),
    };
  }

  #choose<T>(message: string, choices: readonly Choice<T>[]): Promise<T> {
    const safe = choices.map(({ name, value }) => ({ name: withoutControls(name), value }));
    return this.#ask((context) =>
      select<T>({ message: withoutControls(message), choices: safe, pageSize: 20, loop: false }, context),
    );
  }

  async #chooseOrBack<T>(message: string, choices: readonly Choice<T>[], none: string): Promise<T> {
    if (choices.length === 0) throw new BackError(none);
    const chosen = await this.#choose<T | undefined>(message, [...choices, { name: 'Back', value: undefined }]);
    if (chosen === undefined) throw new BackError();
    return chosen;
  }

  async name(what: string): Promise<string> {
    const validate = (text: string): true | string => typedName(text.trim()) !== undefined || nameRule;
    return (await this.#ask((context) => input({ message: `${what}:`, validate }, context))).trim();
  }

  text(): Promise<string> {
    return this.#ask((context) => input({ message: 'Text:', validate: (text) => textProblem(text) ?? true }, context));
  }

  nodes(): Promise<number> {
    const limits = { min: 1, max: nodesMax, default: 1, required: true } as const;
    return this.#ask((context) => number({ message: 'How many nodes serve it?', ...limits }, context));
  }

  async confirm(message: string): Promise<void> {
    const question = { message: withoutControls(message), default: false };
    if (!(await this.#ask((context) => confirm(question, context)))) throw new BackError();
  }

  #ask<T>(prompt: (context: PromptContext) => Promise<T>): Promise<T> {
    const { stdin, stdout } = this.#desk.streams;
    return prompted({ input: stdin, output: stdout }, prompt, this.#signal);
  }

  #show(text: string): Promise<void> {
    return write(this.#desk.streams.stdout, text);
  }
}

function unlessLeft(error: unknown): undefined {
  if (!(error instanceof LeftError)) throw error;
}

const firstLine = (text: string): string => text.split('\n', 1)[0]!;
