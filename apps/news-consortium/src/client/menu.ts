/** The menus: guests log in or register, users read and post, administrators see to areas, too. Each operation leads back to its menu. */
import { confirm, input, number, password, select } from '@inquirer/prompts';
import { ExitError, exitCodes } from '@lab/process';
import { isPassword, nameRule, passwordRule, textProblem, typedName, type ItemName } from '../domain/names.ts';
import { nodesMax, pageItemsMax, type Item } from '../messages.ts';
import type { ClientConfig } from './commands.ts';
import { describeError, openDesk, sentence, watchAs, type Desk } from './desk.ts';
import { isSessionOver } from './member.ts';
import { accountOperations, administratorOperations, areaOperations, newsOperations } from './operations.ts';
import { LeftError, prompted, withoutControls, write, type PromptContext, type Streams } from './terminal.ts';
import { counted, itemText, unreadText } from './texts.ts';

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

/** Of items to choose from or to look at; a longer list does not fit on a screen. */
const newestItems = pageItemsMax;

class Menu {
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

  // What each menu has: an operation, and what it needs to be told.

  #entry<T>(name: string, operation: { run(desk: Desk, settings: T): Promise<void> }, ask: () => T | Promise<T>): Entry {
    return { name, run: async () => operation.run(this.#desk, await ask()) };
  }

  readonly #guestEntries: readonly Entry[] = [
    { name: 'Log in', run: () => this.#logIn() },
    { name: 'Register', run: () => this.#register() },
  ];

  readonly #userEntries: readonly Entry[] = [
    this.#entry('Read what is unread', newsOperations.read, async () => ({ area: await this.#mine('Read'), unread: true })),
    this.#entry('Read the newest', newsOperations.read, async () => {
      return { area: await this.#mine('Read'), unread: false, last: newestItems };
    }),
    { name: 'Watch what is posted', run: () => this.#watch() },
    this.#entry('Post', newsOperations.post, async () => ({
      words: { area: await this.#mine('Post to'), text: await this.#text() },
    })),
    this.#entry('Delete an item of mine', newsOperations.delete, async () => ({ item: await this.#myItem() })),
    this.#entry('My areas', newsOperations['my-areas'], () => ({})),
    this.#entry('All areas', newsOperations.areas, () => ({})),
    this.#entry('Subscribe', newsOperations.subscribe, async () => ({ area: await this.#another('Subscribe to') })),
    this.#entry('Unsubscribe', newsOperations.unsubscribe, async () => {
      const area = await this.#mine('Unsubscribe from');
      await this.#confirm('What is unread is forgotten. Unsubscribe?');
      return { area };
    }),
    this.#entry('Log out', accountOperations.logout, () => ({})),
  ];

  readonly #administratorEntries: readonly Entry[] = [
    this.#entry('Add an area', areaOperations.add, async () => ({ name: await this.#name('Area'), nodes: await this.#nodes() })),
    this.#entry('Set the nodes of an area', areaOperations.set, async () => {
      return { name: await this.#any('Set the nodes of'), nodes: await this.#nodes() };
    }),
    this.#entry('Remove an area', areaOperations.remove, async () => {
      const name = await this.#any('Remove');
      await this.#confirm(`Remove ${name} with its news and subscriptions, for good?`);
      return { name };
    }),
    this.#entry('Promote a user', administratorOperations.promote, async () => ({ name: await this.#name('User') })),
    this.#entry('Make an administrator a user', administratorOperations.demote, async () => ({
      name: await this.#name('Administrator'),
    })),
    this.#entry('Status', administratorOperations.status, () => ({})),
  ];

  async #logIn(): Promise<void> {
    const name = await this.#name('Name');
    await this.#desk.member.login(name, await this.#ask((context) => password({ message: 'Password:' }, context)));
  }

  async #register(): Promise<void> {
    const name = await this.#name('Name');
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
      await watchAs(this.#desk.member, {
        areas: [],
        onItem: (area, item) => this.#show(itemText(area, item)),
        signal: AbortSignal.any([enough.signal, this.#signal]),
      });
    } finally {
      stdin.off('data', end).off('end', end).pause();
    }
  }

  // Questions.

  /** An area of the user's. */
  async #mine(message: string): Promise<string> {
    const areas = await this.#desk.member.myAreas();
    const choices = areas.map(({ area, unread }) => ({ name: `${area}, ${unreadText(unread)} unread`, value: area }));
    return this.#chooseOrBack(message, choices, 'you are subscribed to no area\n');
  }

  /** An area that is none of the user's. */
  async #another(message: string): Promise<string> {
    const areas = await this.#desk.member.areas();
    const others = areas.filter(({ subscribed }) => !subscribed).map(({ area }) => ({ name: area, value: area }));
    return this.#chooseOrBack(message, others, 'there is no area that you are not subscribed to\n');
  }

  async #any(message: string): Promise<string> {
    const { areas } = await this.#desk.member.status();
    const choices = areas.map(({ area, wanted }) => ({ name: `${area}, for ${counted(wanted, 'node')}`, value: area }));
    return this.#chooseOrBack(message, choices, 'there are no areas\n');
  }

  async #myItem(): Promise<ItemName> {
    const { member } = this.#desk;
    const area = await this.#mine('Delete from');
    const mine = (await member.read(area, newestItems)).filter(({ author }) => author === member.kept.name).reverse();
    const choiceOf = (item: Item): Choice<number> => ({ name: firstLine(itemText(area, item)), value: item.number });
    const none = `of the newest ${newestItems} items in ${area} none is yours\n`;
    const number = await this.#chooseOrBack('Delete', mine.map(choiceOf), none);
    await this.#confirm('Delete it for everyone?');
    return { area, number };
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

  async #name(what: string): Promise<string> {
    const validate = (text: string): true | string => typedName(text.trim()) !== undefined || nameRule;
    return (await this.#ask((context) => input({ message: `${what}:`, validate }, context))).trim();
  }

  #text(): Promise<string> {
    return this.#ask((context) => input({ message: 'Text:', validate: (text) => textProblem(text) ?? true }, context));
  }

  #nodes(): Promise<number> {
    const limits = { min: 1, max: nodesMax, default: 1, required: true } as const;
    return this.#ask((context) => number({ message: 'How many nodes serve it?', ...limits }, context));
  }

  async #confirm(message: string): Promise<void> {
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
