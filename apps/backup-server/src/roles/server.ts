/**
 * Server: takes commands from admins and answers every one. What concerns the registry it hands to the nodes manager and waits
 * for the reply; what concerns the store (list, query, restore, verify) it reads there itself.
 */
import { UnavailableError, type Broker, type Consumer, type Delivery } from '@lab/middleware';
import { exitCodes, inTime, retry, sleep, type Clock, type Logger, type Role } from '@lab/process';
import type { FramedServer } from '@lab/protocol';
import type { Channel } from '../channel/channel.ts';
import { decode, encode, unpackJson, type Head, type Message } from '../messages.ts';
import { ordersExchange, queueOf, repliesTopology } from '../topology.ts';
import { keyOf, nameOf, type BackupStore, type Key } from '../versions.ts';
import type { RegistryView, StatusTask } from './nodes-manager.ts';
import { DamagedPaths, type DamagedPath } from './damaged-paths.ts';
import {
  CommandError,
  findVersion,
  isStoreCommand,
  pathKey,
  sendAnswer,
  serveCommands,
  StoreCommands,
  storeCommands,
  type StoreCommandKind,
} from './store-commands.ts';

export interface ServerParts {
  broker: Broker;
  store: BackupStore;
  clock: Clock;
  log: Logger;
  instance: string;
  /** No sweep takes what is younger: an interrupted backup finds there what it had sent. */
  sweepIntervalMs: number;
  /** Declares the system's topology, and hears orders. */
  join: () => Promise<void>;
  newId: () => string;
  /** A consumer is lost for good. */
  fail: (reason: unknown) => void;
  listen: (serve: (channel: Channel) => Promise<void>) => Promise<FramedServer>;
}

export interface StatusResult extends RegistryView {
  store: {
    packs: number;
    bytes: number;
    damaged: readonly DamagedPath[];
    /** Damage was found, and `damaged` does not have all of it yet. */
    isLooking: boolean;
  };
}

/** Longer than the nodes manager takes to come back after a crash. */
const replyMs = 20_000;
/** For the manifests of some thousands of versions. */
const lookMs = 2_000;
const lookEachMs = 60_000;

/** After `shutdown`; a process has 8 s to stop. */
const orderAgainMs = 1_000;
const ordersAgain = 4;

const commands = ['register', 'unregister', 'backupNow', 'forget', 'status', 'shutdown'] as const;
type CommandKind = (typeof commands)[number];

export class ServerRole implements Role {
  readonly #parts: ServerParts;
  readonly #waiting = new Map<string, PromiseWithResolvers<Message<'reply'>>>();
  /** The broker knows us: until then there is only what is in the store. */
  readonly #joined = Promise.withResolvers<void>();
  readonly #damaged: DamagedPaths;
  readonly #stopping = new AbortController();
  #replies: Consumer | undefined;
  #server: FramedServer | undefined;
  #stopLooks: () => void = () => {};
  /** An admin has said `shutdown`. */
  #isOver = false;

  constructor(parts: ServerParts) {
    this.#parts = parts;
    this.#damaged = new DamagedPaths(parts.store, parts.clock);
  }

  /** How many versions of each path are damaged, as far as is known. */
  get damage(): readonly DamagedPath[] {
    return this.#damaged.found;
  }

  async start(): Promise<void> {
    const { listen, log, fail } = this.#parts;
    this.#server = await listen((channel) => this.#serve(channel));
    log.info({ host: this.#server.host, port: this.#server.port }, 'taking commands');
    const look = (): void => void this.#damaged.look().catch((error: unknown) => log.error({ err: error }, 'no look for damage'));
    look();
    this.#stopLooks = this.#parts.clock.every(lookEachMs, look);
    void this.#join().catch((error: unknown) => this.#stopping.signal.aborted || fail(error));
  }

  /** However long RabbitMQ is away: meanwhile admins list and restore. */
  async #join(): Promise<void> {
    const { broker, clock, fail, instance, join, log } = this.#parts;
    const attempt = async (): Promise<void> => {
      await join();
      await broker.declare(repliesTopology(instance));
      this.#replies = await broker.consume(queueOf.replies(instance), (delivery) => this.#onReply(delivery), { prefetch: 100 });
      this.#replies.closed.catch(fail);
    };
    const worthwhile = (error: unknown): boolean => error instanceof UnavailableError;
    const onRetry = (error: unknown): void =>
      log.warn({ err: error }, 'without a broker: taking list, restore, query and verify');
    await retry(attempt, { clock, withinMs: Infinity, worthwhile, onRetry, signal: this.#stopping.signal });
    this.#joined.resolve();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#stopLooks();
    await Promise.all([this.#server?.close({ drainMs: 2_000 }), this.#orderAgain()]);
    await this.#replies?.stop();
  }

  /** An order is for those who are connected: who comes back to RabbitMQ meanwhile hears it so. */
  async #orderAgain(): Promise<void> {
    const { broker, clock } = this.#parts;
    // In one process there is nobody else.
    if (!this.#isOver || !broker.features.shared) return;
    for (let times = 0; times < ordersAgain; times++) {
      await sleep(clock, orderAgainMs);
      void this.#order({ kind: 'stop' }).catch(() => undefined);
    }
  }

  async #serve(channel: Channel): Promise<void> {
    const { log } = this.#parts;
    const reading = new StoreCommands(this.#parts, channel);
    const obey = async (message: Message<CommandKind | StoreCommandKind>): Promise<void> => {
      const { kind } = message.head;
      if (kind !== 'need' && kind !== 'working') log.info({ command: kind, asker: channel.asker }, 'command');
      if (isStoreCommand(kind)) return reading.obey(message);
      await sendAnswer(channel, await this.#obey(message.head as Head<CommandKind>));
    };
    await serveCommands(channel, [...commands, ...storeCommands], obey, log).finally(() => reading.close());
  }

  async #obey(command: Head<CommandKind>): Promise<unknown> {
    if (command.kind === 'status') return this.#status(command);
    if (command.kind === 'unregister') return this.#unregister(command);
    if (command.kind === 'forget') return this.#forget(command);
    if (command.kind !== 'shutdown') return this.#ask(command);
    this.#parts.log.info('shutdown');
    this.#isOver = true;
    await this.#inTime(this.#order({ kind: 'stop' }), 'RabbitMQ did not take the order').catch((error: unknown) => {
      this.#isOver = false;
      throw error;
    });
    return { stopping: ['server', 'nodes manager', 'backup requesters'] };
  }

  // What the nodes manager does.

  async #ask(command: Head): Promise<unknown> {
    const { broker, newId, instance } = this.#parts;
    const id = newId();
    const waiting = Promise.withResolvers<Message<'reply'>>();
    this.#waiting.set(id, waiting);
    const asked = async (): Promise<Message<'reply'>> => {
      await this.#joined.promise;
      const head: Head<'command'> = { kind: 'command', id, replyTo: queueOf.replies(instance) };
      await broker.publish({ routingKey: queueOf.commands, body: encode(head, encode(command)) });
      return waiting.promise;
    };
    try {
      const reply = await this.#inTime(asked(), 'the nodes manager did not answer');
      if (reply.head.failed !== undefined) throw new CommandError(reply.head.failed);
      return unpackJson(reply.body);
    } finally {
      this.#waiting.delete(id);
    }
  }

  async #order(head: Head<'stop'>): Promise<void> {
    await this.#joined.promise;
    await this.#parts.broker.publish({ exchange: ordersExchange, routingKey: '', body: encode(head) });
  }

  /** Nobody waits for ever for whom RabbitMQ reaches, or does not. */
  #inTime<T>(work: Promise<T>, what: string): Promise<T> {
    const text = `${what} within ${replyMs / 1000} s: does it run, and RabbitMQ? The command may still be done`;
    return inTime(this.#parts.clock, replyMs, work, () => new CommandError(text, exitCodes.unavailable));
  }

  #onReply({ body }: Delivery): void {
    const reply = decode(body, 'reply');
    this.#waiting.get(reply.head.id)?.resolve(reply);
  }

  async #unregister(command: Head<'unregister'>): Promise<unknown> {
    const { store } = this.#parts;
    const name = nameOf(pathKey(command));
    // What was unregistered before may still have versions to forget.
    const hasMore = command.forget && (await store.versions(name)).length > 0;
    const key = (await this.#ask({ ...command, forget: hasMore })) as Key;
    const forgotten = command.forget ? await store.forget(name) : 0;
    if (forgotten > 0) this.#sweep();
    return { ...key, forgotten };
  }

  async #forget(command: Head<'forget'>): Promise<unknown> {
    const { store } = this.#parts;
    const { name, version } = await findVersion(store, command);
    await store.forget(name, () => [version]);
    this.#sweep();
    return { ...keyOf(name), version };
  }

  /** What was forgotten makes room at once; nobody waits for it. */
  #sweep(): void {
    const { broker, log, sweepIntervalMs } = this.#parts;
    const body = encode({ kind: 'sweep', graceMs: sweepIntervalMs });
    const published = this.#joined.promise.then(() => broker.publish({ routingKey: queueOf.due, body }));
    published.catch((error: unknown) => log.warn({ err: error }, 'nobody sweeps'));
  }

  /** Costs nothing that grows with the versions: which are damaged is known, or found out within a moment, or later. */
  async #status(command: Head<'status'>): Promise<StatusResult> {
    const { store } = this.#parts;
    const view = (await this.#ask(command)) as RegistryView;
    const isLooking = await this.#damagedLooked();
    const tasks = await Promise.all(view.tasks.map((task) => this.#withoutGone(task)));
    return { ...view, tasks, store: { ...store.usage(), damaged: this.#damaged.found, isLooking } };
  }

  /** What cannot be restored may have gone since, by its --keep rules or by an admin: then it is nobody's concern. */
  async #withoutGone(task: StatusTask): Promise<StatusTask> {
    if (task.drill?.problem === undefined) return task;
    const versions = await this.#parts.store.versions(nameOf(task));
    return versions.some(({ version }) => version === task.drill?.version) ? task : { ...task, drill: undefined };
  }

  /** Waits a moment for a look at what is damaged; whether it goes on. */
  #damagedLooked(): Promise<boolean> {
    const { clock, store } = this.#parts;
    const looked = this.#damaged.look(() => store.refreshShown()).then(() => false);
    return Promise.race([looked, sleep(clock, lookMs).then(() => true)]);
  }
}
