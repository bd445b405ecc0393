/** Clients of several users that do whatever clients do, by chance from a seed, on agents and nodes that things happen to; wherever those run. */
import { randomUUID } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { eventually, type Random } from '@lab/testing';
import { Promised, Refused, type LoadClient, type Workload } from '@lab/testing/load';
import type { Consortium } from '../src/client/consortium.ts';
import type { Item } from '../src/messages.ts';
import { recordAssignments, recordedAssignments } from './assignment-log.ts';
import { judged, promises, untold, type History, type Operation } from './history.ts';
import { RecordingClient, Watch } from './recording-client.ts';

const password = 'correct horse';
const pageItems = 100;
/** Those of the auditor from the beginning on, and some of the users. */
const watchesMax = 8;
/** What takes longer is no slow machine: somebody waits for what will not come. How long waits are is printed. */
export const waitMsMax = 60_000;

/** What there is to work on. */
export interface WorkPlace {
  readonly administrator: { readonly name: string; readonly password: string };
  /** Of a database that is reached whatever happens to the others. */
  readonly databaseUrl: string;
  /** Where agents are now. */
  readonly agentAddresses: string[];
  /** What clients trust, where it speaks TLS. */
  readonly tls: ConnectionOptions | undefined;
  /** A client that knows them. */
  client(): Consortium;
}

/** Clients at work, whose operations and watches become a history, and what they were promised. Users and areas are its own. */
export class Work implements Workload {
  readonly #place: WorkPlace;
  readonly operations: Operation[] = [];
  /** Once it was checked. */
  history: History | undefined;
  readonly promises: Promised[];
  readonly #random: Random;
  readonly #run = randomUUID().slice(0, 8);
  readonly #users = ['ana', 'bo', 'cyd'].map((name) => `${name}-${this.#run}`);
  /** One behind the other in lists of areas: a page from there on has all of them. */
  readonly #areas = ['chess', 'sports', 'weather'].map((name) => `${this.#run}-${name}`);
  readonly #auditor: RecordingClient;
  /** One of each user. */
  readonly #readers: readonly RecordingClient[];
  readonly #watches: Watch[] = [];
  /** What a user has posted, by user and area. */
  readonly #posted = new Map<string, { number: number; text: string }[]>();
  #posts = 0;
  #edits = 0;
  #connects = 0;

  constructor(place: WorkPlace, random: Random, kept = promises.map(({ promise, cases }) => new Promised(promise, cases))) {
    this.#place = place;
    this.#random = random;
    this.promises = kept;
    this.#auditor = this.#client(`auditor-${this.#run}`);
    this.#readers = this.#users.map((name) => this.#client(name));
  }

  #client(name: string): RecordingClient {
    const record = (operation: Operation): void => void this.operations.push(operation);
    const { tls } = this.#place;
    return new RecordingClient({ name, password, agents: async () => this.#place.agentAddresses, tls, record });
  }

  /** Users, areas, everybody subscribed to everything, and an auditor who watches all of it. */
  async prepare(): Promise<void> {
    await recordAssignments(this.#place.databaseUrl);
    const client = this.#place.client();
    const { token } = await client.ask('login', { ...this.#place.administrator, key: randomUUID() });
    for (const area of this.#areas) await client.ask('addArea', { token, area, nodes: this.#random.integer(1, 2), key: area });
    for (const each of [...this.#readers, this.#auditor]) {
      await client.ask('register', { name: each.user, password, key: each.user });
      await each.login();
      for (const area of this.#areas) await each.node('subscribe', area, {});
    }
    for (const area of this.#areas) await this.#watch(this.#auditor, area);
  }

  /** One more of a user; it does whatever clients do. */
  async connect(number: number): Promise<LoadClient> {
    const client = this.#client(this.#users[number % this.#users.length]!);
    // One that comes back does something else: what it was refused would be refused again.
    const random = this.#random.fork(`client ${number}, ${++this.#connects}`);
    await client.login();
    if (client.last.is !== 'ok') {
      const why = client.last.is === 'refused' ? `refused: ${client.last.code}` : 'not answered in time';
      throw new Error(`the login of ${client.user} was ${why}`);
    }
    const operate = async (): Promise<void> => {
      try {
        await this.#step(client, random);
      } catch (error) {
        this.promises.at(-1)!.breaks(`a client failed: ${String(error)}`);
        throw error;
      }
      if (client.last.is === 'refused') throw new Refused(client.last.code);
      if (client.last.is === 'unknown') throw new Error('nobody has answered in time');
    };
    return { operate };
  }

  /** Resolves when so many more operations were answered. */
  async goOn(operations: number): Promise<void> {
    const wanted = this.operations.length + operations;
    await eventually(() => this.operations.length >= wanted, { timeoutMs: 3 * waitMsMax, intervalMs: 5 });
  }

  async #step(client: RecordingClient, random: Random): Promise<void> {
    const area = random.pick(this.#areas);
    const chance = random.next();
    if (chance < 0.3) return this.#post(client, area);
    if (chance < 0.45) return void (await client.node('read', area, { limit: pageItems }));
    if (chance < 0.7) return this.#readUnread(client, area, random.chance(0.7));
    if (chance < 0.78) return this.#edit(client, area, random);
    if (chance < 0.83) return this.#delete(client, area, random);
    if (chance < 0.85) return void (await client.node('unsubscribe', area, {}));
    if (chance < 0.9) return void (await client.node('subscribe', area, {}));
    if (chance < 0.92) return void (await client.node('areas', '', { after: this.#run }));
    if (chance < 0.95) return this.#relogin(client, area);
    await this.#watch(client, area);
  }

  async #post(client: RecordingClient, area: string): Promise<void> {
    const text = `post ${++this.#posts}`;
    const posted = await client.node('post', area, { text, key: text.replace(' ', '-') });
    if (posted === undefined) return;
    const name = `${client.user} ${area}`;
    this.#posted.set(name, [...(this.#posted.get(name) ?? []), { number: posted.number, text }]);
  }

  async #readUnread(client: RecordingClient, area: string, marks: boolean): Promise<void> {
    const offered = await client.node('unread', area, { limit: 5 });
    const numbers = offered?.items.map(({ number }) => number) ?? [];
    if (marks && numbers.length > 0) await client.node('mark', area, { numbers });
  }

  async #edit(client: RecordingClient, area: string, random: Random): Promise<void> {
    const posted = this.#posted.get(`${client.user} ${area}`) ?? [];
    if (posted.length === 0) return;
    const { number, text } = random.pick(posted);
    await client.node('edit', area, { number, text: `${text}, edit ${++this.#edits}` });
  }

  async #delete(client: RecordingClient, area: string, random: Random): Promise<void> {
    const posted = this.#posted.get(`${client.user} ${area}`) ?? [];
    if (posted.length > 0) await client.node('delete', area, { number: random.pick(posted).number });
  }

  /** And what the closed session still can do. */
  async #relogin(client: RecordingClient, area: string): Promise<void> {
    const { token } = client;
    await client.logout();
    await client.node('read', area, { limit: pageItems }, token);
    await client.login();
  }

  async #watch(client: RecordingClient, area: string): Promise<void> {
    if (this.#watches.length >= watchesMax) return;
    const watch = new Watch(
      { user: client.user, token: client.token, consortium: this.#place.client(), tls: this.#place.tls },
      area,
    );
    this.#watches.push(watch);
    await watch.begun();
  }

  /** What all of them did and saw, when nobody is at work any more. */
  async check(): Promise<void> {
    this.history = await this.#end();
    for (const [index, { broken, cases }] of judged(this.history).entries()) {
      const promised = this.promises[index]!;
      for (let held = broken.length; held < cases; held++) promised.holds();
      for (const each of broken) promised.breaks(each);
    }
  }

  /** Its areas are no more. */
  async leave(): Promise<void> {
    const client = this.#place.client();
    const { token } = await client.ask('login', { ...this.#place.administrator, key: randomUUID() });
    for (const area of this.#areas) await client.ask('removeArea', { token, area, key: `no-${area}` });
  }

  /** All that is unread is read, all that is there is read by the auditor, and watches come to their ends. */
  async #end(): Promise<History> {
    for (const client of [...this.#readers, this.#auditor])
      for (const area of this.#areas) await eventually(() => this.#drained(client, area), { intervalMs: 20 });
    const final = new Map<string, Item[]>();
    for (const area of this.#areas) final.set(area, await allNews(this.#auditor, area));
    await Promise.all(this.#watches.map((watch) => this.#endWatch(watch, final)));
    const watched = this.#watches.flatMap((watch) => watch.watched ?? []);
    return { operations: this.operations, final, watched, assigned: await recordedAssignments(this.#place.databaseUrl) };
  }

  /** What it never hears of, as where the database has lost numbers that it was told, is broken: the check says so. */
  async #endWatch(watch: Watch, final: ReadonlyMap<string, readonly Item[]>): Promise<void> {
    const { watched } = watch;
    const last = watched && final.get(watched.area)?.findLast(({ number }) => number > watched.after)?.number;
    const hasAll = (): boolean => (last === undefined || watch.has(last)) && untold(this.operations, watch.watched!).length === 0;
    await eventually(() => watched === undefined || watch.refusal !== undefined || hasAll()).catch(() => undefined);
    await watch.stop();
  }

  async #drained(client: RecordingClient, area: string): Promise<boolean> {
    const offered = await client.node('unread', area, { limit: pageItems });
    // Refused: the subscription has ended.
    if (offered === undefined) return client.last.is === 'refused';
    const numbers = offered.items.map(({ number }) => number);
    if (numbers.length > 0) await client.node('mark', area, { numbers });
    return numbers.length === 0 && offered.held === 0;
  }
}

async function allNews(client: RecordingClient, area: string): Promise<Item[]> {
  const news: Item[] = [];
  for (let before: number | undefined; ; before = news[0]!.number) {
    const body = { token: client.token, area, limit: pageItems, ...(before !== undefined && { before }) };
    const { items } = await client.consortium.ask('read', body);
    news.unshift(...items);
    if (items.length < pageItems) return news;
  }
}
