/** The menus: guests log in or register, users read and post, administrators see to areas, too. Each operation leads back to its menu. */
import { confirm, input, number, password, select } from '@inquirer/prompts';
import { ExitError, exitCodes } from '@lab/process';
import type { ClientConfig } from '../config.ts';
import { isPassword, itemName, nameRule, normalName, passwordRule, textProblem } from '../domain/names.ts';
import { nodesMax, pageItemsMax, type Item } from '../messages.ts';
import { describeError, openDesk, sentence, watchAs } from './desk.ts';
import { isSessionOver, type Member } from './member.ts';
import { showUnread } from './reading.ts';
import { LeftError, prompted, withoutControls, write, type PromptContext, type Streams } from './terminal.ts';
import { areasText, counted, heldText, itemsText, itemText, myAreasText, statusText, unreadText } from './texts.ts';

/** Shows menus until whoever sits there leaves, or the signal ends it. */
export async function runMenu(streams: Streams, settings: ClientConfig, signal: AbortSignal): Promise<void> {
  if (streams.stdin.isTTY !== true || streams.stdout.isTTY !== true)
    throw new ExitError('the menu needs a terminal; elsewhere use the commands, which "client --help" lists', exitCodes.usage);
  const { member } = await openDesk(streams, settings, { anybody: true, signal });
  try {
    await new Menu(streams, member, signal).run();
  } catch (error) {
    if (!(error instanceof LeftError)) throw error;
  }
}

interface Entry {
  readonly name: string;
  readonly run: () => Promise<void>;
}
interface Choice<T> {
  readonly name: string;
  readonly value: T;
}

/** Of items to choose from or to look at; a longer list does not fit on a screen. */
const newestItems = pageItemsMax;

class Menu {
  readonly #streams: Streams;
  readonly #member: Member;
  readonly #signal: AbortSignal;

  constructor(streams: Streams, member: Member, signal: AbortSignal) {
    this.#streams = streams;
    this.#member = member;
    this.#signal = signal;
  }

  /** Ends with `LeftError`. */
  async run(): Promise<never> {
    for (;;) {
      const { title, entries } = this.#menu();
      const leave: Entry = { name: 'Leave', run: () => Promise.reject(new LeftError()) };
      const entry = await this.#choose(
        title,
        [...entries, leave].map((each) => ({ name: each.name, value: each })),
      );
      await this.#attempt(entry.run);
    }
  }

  #menu(): { title: string; entries: readonly Entry[] } {
    if (!this.#member.isLoggedIn) return { title: 'News consortium', entries: this.#guestEntries };
    const { name, role } = this.#member.kept;
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
      const known = describeError(error);
      if (error instanceof LeftError || known === undefined) throw error;
      await this.#show(`${sentence(known)}\n`);
      if (isSessionOver(error)) await this.#member.forget();
    } finally {
      this.#signal.removeEventListener('abort', interrupt);
    }
  }

  // What each menu has.

  readonly #guestEntries: readonly Entry[] = [
    { name: 'Log in', run: () => this.#logIn() },
    { name: 'Register', run: () => this.#register() },
  ];

  readonly #userEntries: readonly Entry[] = [
    { name: 'Read what is unread', run: () => this.#withMine('Read', (area) => this.#readUnread(area)) },
    { name: 'Read the newest', run: () => this.#withMine('Read', (area) => this.#readNewest(area)) },
    { name: 'Watch what is posted', run: () => this.#watch() },
    { name: 'Post', run: () => this.#withMine('Post to', (area) => this.#post(area)) },
    { name: 'Delete an item of mine', run: () => this.#withMine('Delete from', (area) => this.#delete(area)) },
    { name: 'My areas', run: async () => this.#show(myAreasText(await this.#member.myAreas())) },
    { name: 'All areas', run: async () => this.#show(areasText(await this.#member.areas())) },
    { name: 'Subscribe', run: () => this.#subscribe() },
    { name: 'Unsubscribe', run: () => this.#withMine('Unsubscribe from', (area) => this.#unsubscribe(area)) },
    { name: 'Log out', run: () => this.#logOut() },
  ];

  readonly #administratorEntries: readonly Entry[] = [
    { name: 'Add an area', run: () => this.#addArea() },
    { name: 'Set the nodes of an area', run: () => this.#withAny('Set the nodes of', (area) => this.#setArea(area)) },
    { name: 'Remove an area', run: () => this.#withAny('Remove', (area) => this.#removeArea(area)) },
    { name: 'Promote a user', run: () => this.#promote() },
    { name: 'Status', run: async () => this.#show(statusText(await this.#member.status())) },
  ];

  // Guests.

  async #logIn(): Promise<void> {
    const name = await this.#name('Name');
    await this.#member.login(name, await this.#ask((context) => password({ message: 'Password:' }, context)));
  }

  async #register(): Promise<void> {
    const name = await this.#name('Name');
    const validate = (text: string): true | string => isPassword(text) || `a password has ${passwordRule}`;
    const chosen = await this.#ask((context) => password({ message: 'Password:', validate }, context));
    const repeated = await this.#ask((context) => password({ message: 'Once more:' }, context));
    if (repeated !== chosen) return this.#show('the two passwords differ: nothing was done\n');
    await this.#member.register(name, chosen);
    await this.#member.login(name, chosen);
  }

  // Users.

  async #readUnread(area: string): Promise<void> {
    const { count, ...held } = await showUnread(this.#member, area, (items) => this.#show(itemsText(area, items)));
    if (count === 0) await this.#show(`nothing unread in ${area}\n`);
    const more = heldText(held);
    if (more !== undefined) await this.#show(`${more}\n`);
  }

  async #readNewest(area: string): Promise<void> {
    const items = await this.#member.read(area, newestItems);
    await this.#show(items.length === 0 ? `no news in ${area}\n` : itemsText(area, items));
  }

  async #watch(): Promise<void> {
    const { stdin } = this.#streams;
    const enough = new AbortController();
    const end = (): void => enough.abort();
    await this.#show('watching your areas; Enter ends it\n');
    stdin.once('data', end).once('end', end).resume();
    try {
      await watchAs(this.#member, {
        areas: [],
        onItem: (area, item) => this.#show(itemText(area, item)),
        signal: AbortSignal.any([enough.signal, this.#signal]),
      });
    } finally {
      stdin.off('data', end).off('end', end).pause();
    }
  }

  async #post(area: string): Promise<void> {
    const text = await this.#ask((context) =>
      input({ message: 'Text:', validate: (text) => textProblem(text) ?? true }, context),
    );
    await this.#show(`${itemName(await this.#member.post(area, text))}\n`);
  }

  async #delete(area: string): Promise<void> {
    const { name } = this.#member.kept;
    const mine = (await this.#member.read(area, newestItems)).filter(({ author }) => author === name).reverse();
    if (mine.length === 0) return this.#show(`of the newest ${newestItems} items in ${area} none is yours\n`);
    const choiceOf = (item: Item): Choice<number> => ({ name: firstLine(itemText(area, item)), value: item.number });
    const number = await this.#chooseOrBack('Delete', mine.map(choiceOf));
    if (number === undefined || !(await this.#confirm('Delete it for everyone?'))) return;
    await this.#member.delete(area, number);
    await this.#show(`deleted ${itemName({ area, number })}\n`);
  }

  async #subscribe(): Promise<void> {
    const { areas } = await this.#member.areas();
    const others = areas.filter(({ subscribed }) => !subscribed).map(({ area }) => choice(area));
    if (others.length === 0) return this.#show('there is no area that you are not subscribed to\n');
    const area = await this.#chooseOrBack('Subscribe to', others);
    if (area === undefined) return;
    await this.#member.subscribe(area);
    await this.#show(`subscribed to ${area}\n`);
  }

  async #unsubscribe(area: string): Promise<void> {
    if (!(await this.#confirm('What is unread is forgotten. Unsubscribe?'))) return;
    await this.#member.unsubscribe(area);
    await this.#show(`unsubscribed from ${area}\n`);
  }

  async #logOut(): Promise<void> {
    await this.#member.logout();
    await this.#show('logged out\n');
  }

  // Administrators.

  async #addArea(): Promise<void> {
    const area = await this.#name('Area');
    const nodes = await this.#nodes();
    await this.#member.addArea(area, nodes);
    await this.#show(`added ${area}, for ${counted(nodes, 'node')}\n`);
  }

  async #setArea(area: string): Promise<void> {
    const nodes = await this.#nodes();
    await this.#member.setArea(area, nodes);
    await this.#show(`${area} is for ${counted(nodes, 'node')}\n`);
  }

  async #removeArea(area: string): Promise<void> {
    if (!(await this.#confirm(`Remove ${area} with its news and subscriptions, for good?`))) return;
    const { news, subscriptions } = await this.#member.removeArea(area);
    await this.#show(`removed ${area}, with ${counted(news, 'item')} and ${counted(subscriptions, 'subscription')}\n`);
  }

  async #promote(): Promise<void> {
    const { name } = await this.#member.promote(await this.#name('User'));
    await this.#show(`${name} is an administrator\n`);
  }

  // Questions and answers.

  async #withMine(message: string, run: (area: string) => Promise<void>): Promise<void> {
    const { areas } = await this.#member.myAreas();
    if (areas.length === 0) return this.#show('you are subscribed to no area\n');
    const choices = areas.map(({ area, unread }) => ({ name: `${area}, ${unreadText(unread)} unread`, value: area }));
    const area = await this.#chooseOrBack(message, choices);
    if (area !== undefined) await run(area);
  }

  async #withAny(message: string, run: (area: string) => Promise<void>): Promise<void> {
    const { areas } = await this.#member.status();
    if (areas.length === 0) return this.#show('there are no areas\n');
    const choices = areas.map(({ area, wanted }) => ({ name: `${area}, for ${counted(wanted, 'node')}`, value: area }));
    const area = await this.#chooseOrBack(message, choices);
    if (area !== undefined) await run(area);
  }

  #choose<T>(message: string, choices: readonly Choice<T>[]): Promise<T> {
    const safe = choices.map(({ name, value }) => ({ name: withoutControls(name), value }));
    return this.#ask((context) =>
      select<T>({ message: withoutControls(message), choices: safe, pageSize: 20, loop: false }, context),
    );
  }

  #chooseOrBack<T>(message: string, choices: readonly Choice<T>[]): Promise<T | undefined> {
    return this.#choose<T | undefined>(message, [...choices, { name: 'Back', value: undefined }]);
  }

  async #name(what: string): Promise<string> {
    const validate = (text: string): true | string => normalName(text.trim()) !== undefined || nameRule;
    return (await this.#ask((context) => input({ message: `${what}:`, validate }, context))).trim();
  }

  #nodes(): Promise<number> {
    const limits = { min: 1, max: nodesMax, default: 1, required: true } as const;
    return this.#ask((context) => number({ message: 'How many nodes serve it?', ...limits }, context));
  }

  #confirm(message: string): Promise<boolean> {
    return this.#ask((context) => confirm({ message: withoutControls(message), default: false }, context));
  }

  #ask<T>(prompt: (context: PromptContext) => Promise<T>): Promise<T> {
    return prompted({ input: this.#streams.stdin, output: this.#streams.stdout }, prompt, this.#signal);
  }

  #show(text: string): Promise<void> {
    return write(this.#streams.stdout, text);
  }
}

const choice = (area: string): Choice<string> => ({ name: area, value: area });
const firstLine = (text: string): string => text.split('\n', 1)[0]!;
