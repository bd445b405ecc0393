/**
 * Server: takes commands from admins and answers every one. What concerns the registry it hands to the nodes manager and waits
 * for the reply; what concerns the store (list, query, restore, verify) it reads there itself.
 */
import { UnavailableError, type Broker, type Consumer, type Delivery } from '@lab/middleware';
import { exitCodes, retry, type Clock, type Logger, type Role } from '@lab/process';
import type { FramedServer } from '@lab/protocol';
import { isLost, MissingBlobsError, scrub, type Finding, type LostVersion } from '@lab/store';
import type { Channel } from '../channel/channel.ts';
import { damagedText, isDamaged, isSound, lostVersion } from './damage.ts';
import { manifestLine } from '../domain/manifest.ts';
import { normalPath } from '../domain/paths.ts';
import { registered } from '../domain/registry.ts';
import {
  decode,
  encode,
  manifestPieces,
  packJson,
  pieceBytes,
  unpackHashes,
  unpackJson,
  type Head,
  type Message,
} from '../messages.ts';
import { ordersExchange, queueOf, repliesTopology } from '../topology.ts';
import { entriesOf, nameOf, type BackupStore, type Key, type Version } from '../versions.ts';
import type { RegistryView } from './nodes-manager.ts';

export interface ServerParts {
  broker: Broker;
  store: BackupStore;
  clock: Clock;
  log: Logger;
  instance: string;
  /** Declares the system's topology, and hears orders. */
  join: () => Promise<void>;
  newId: () => string;
  /** A consumer is lost for good. */
  fail: (reason: unknown) => void;
  listen: (serve: (channel: Channel) => Promise<void>) => Promise<FramedServer>;
}

/** What `list` answers for a version. */
export interface ListedVersion extends Omit<Version, 'name' | 'manifest'> {
  state: 'whole' | 'damaged' | 'lost';
  /** Files that cannot be restored as they were. */
  damagedFiles: string[];
}

export interface VerifyResult {
  bytes: number;
  findings: Finding[];
  damaged: ListedVersion[];
}

export interface StatusResult extends RegistryView {
  store: { packs: number; bytes: number; versions: number; damaged: number };
}

/** Longer than the nodes manager takes to come back after a crash. */
const replyMs = 20_000;
const workingMs = 1_000;

const commands = ['register', 'unregister', 'backupNow', 'list', 'status', 'verify', 'shutdown', 'fetch'] as const;
type CommandKind = (typeof commands)[number];

/** A command cannot be done, for a reason that its admin should read. */
class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code: number;
  constructor(message: string, code = 1) {
    super(message);
    this.code = code;
  }
}

export class ServerRole implements Role {
  readonly #parts: ServerParts;
  readonly #waiting = new Map<string, PromiseWithResolvers<Message<'reply'>>>();
  /** The broker knows us: until then there is only what is in the store. */
  readonly #joined = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  #replies: Consumer | undefined;
  #server: FramedServer | undefined;

  constructor(parts: ServerParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    const { listen, log, fail } = this.#parts;
    this.#server = await listen((channel) => this.#serve(channel));
    log.info({ host: this.#server.host, port: this.#server.port }, 'taking commands');
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
    await this.#server?.close({ drainMs: 2_000 });
    await this.#replies?.stop();
  }

  async #serve(channel: Channel): Promise<void> {
    for (let message = await channel.receive(...commands); message !== undefined; message = await channel.receive(...commands)) {
      const { head } = message;
      this.#parts.log.info({ command: head.kind, asker: channel.asker }, 'command');
      try {
        await this.#obey(channel, head);
      } catch (error) {
        if (!(error instanceof CommandError || error instanceof MissingBlobsError)) throw error;
        await channel.send({ kind: 'failed', reason: error.message, code: error instanceof CommandError ? error.code : 1 });
      }
    }
  }

  async #obey(channel: Channel, command: Head<CommandKind>): Promise<void> {
    if (command.kind === 'fetch') return this.#fetch(channel, command);
    if (command.kind === 'verify') return this.#answer(channel, await this.#verify(channel));
    if (command.kind === 'list') return this.#answer(channel, await this.#list());
    if (command.kind === 'status') return this.#answer(channel, await this.#status(command));
    if (command.kind === 'shutdown') {
      this.#parts.log.info('shutdown');
      await this.#inTime(this.#order({ kind: 'stop' }), 'RabbitMQ did not take the order');
      return this.#answer(channel, { stopping: ['server', 'nodes manager', 'backup requesters'] });
    }
    if (command.kind === 'unregister') return this.#answer(channel, await this.#unregister(command));
    return this.#answer(channel, await this.#ask(command));
  }

  #answer(channel: Channel, value: unknown): Promise<void> {
    return channel.send({ kind: 'answer' }, packJson(value));
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
  async #inTime<T>(work: Promise<T>, what: string): Promise<T> {
    const late = Promise.withResolvers<never>();
    const text = `${what} within ${replyMs / 1000} s: does it run, and RabbitMQ? The command may still be done`;
    const stopTimer = this.#parts.clock.after(replyMs, () => late.reject(new CommandError(text, exitCodes.unavailable)));
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      stopTimer();
    }
  }

  #onReply({ body }: Delivery): void {
    const reply = decode(body, 'reply');
    this.#waiting.get(reply.head.id)?.resolve(reply);
  }

  async #unregister(command: Head<'unregister'>): Promise<unknown> {
    const key = pathKey(command);
    const versions = command.forget ? await this.#parts.store.versions(nameOf(key)) : [];
    const answer = await this.#ask(command).catch((error: unknown) => {
      // What was unregistered before may still have versions to forget.
      if (versions.length === 0 || !(error instanceof CommandError) || error.code !== 1) throw error;
      return key;
    });
    const forgotten = command.forget ? await this.#parts.store.forget(nameOf(key)) : 0;
    return { ...(answer as Key), forgotten };
  }

  async #status(command: Head<'status'>): Promise<StatusResult> {
    const { store } = this.#parts;
    const view = (await this.#ask(command)) as RegistryView;
    const listed = await this.#list();
    const usage = await store.usage();
    const damaged = listed.filter(({ state }) => state !== 'whole').length;
    return { ...view, store: { ...usage, versions: listed.length, damaged } };
  }

  // What is in the store.

  async #list(): Promise<ListedVersion[]> {
    const { store } = this.#parts;
    await store.refresh();
    const listed: ListedVersion[] = [];
    for (const version of await store.versions()) listed.push(await this.#listed(version));
    return listed;
  }

  async #listed(version: Version | LostVersion): Promise<ListedVersion> {
    const { store } = this.#parts;
    if (isLost(version)) return lostVersion(version);
    const { name, manifest, ...record } = version;
    const missing = store.hasDamage ? await store.missingOf(version) : [];
    if (missing.length === 0) return { ...record, state: 'whole', damagedFiles: [] };
    return { ...record, state: 'damaged', damagedFiles: await this.#filesWith(version, new Set(missing)) };
  }

  async #filesWith(version: Version, missing: ReadonlySet<string>): Promise<string[]> {
    if (version.manifest.some((hash) => missing.has(hash))) return ['all of them: the manifest is damaged'];
    const names: string[] = [];
    for await (const entry of entriesOf(this.#parts.store, version))
      if (isDamaged(entry, missing)) names.push(entry.path === '' ? version.path : entry.path);
    return names;
  }

  async #verify(channel: Channel): Promise<VerifyResult> {
    const { store, clock, log } = this.#parts;
    const total = (await store.usage()).bytes;
    let bytes = 0;
    const working = (): void =>
      void channel.send({ kind: 'working', files: 0, bytes, sentBytes: 0, total }).catch(() => undefined);
    const stopWorking = clock.every(workingMs, working);
    try {
      const result = await scrub(store, undefined, (more) => (bytes += more));
      for (const finding of result.findings) log.error(finding, 'damage found');
      const listed = await this.#list();
      return { ...result, damaged: listed.filter(({ state }) => state !== 'whole') };
    } finally {
      stopWorking();
    }
  }

  /** Sends a version: its record, its manifest, and then whatever blobs the admin asks for. */
  async #fetch(channel: Channel, command: Head<'fetch'>): Promise<void> {
    const { store } = this.#parts;
    await store.refresh();
    const version = await this.#choose(command);
    const missing = new Set(await store.missingOf(version));
    if (version.manifest.some((hash) => missing.has(hash)))
      throw new CommandError(`version ${version.version} of ${registered(version)} cannot be restored: its manifest is damaged`);
    const damaged = missing.size === 0 ? [] : await this.#filesWith(version, missing);
    if (damaged.length > 0 && !command.partial) throw new CommandError(damagedText(version, damaged));
    await channel.send({ kind: 'version', damaged: damaged.length }, packJson(version));
    await this.#serveVersion(channel, soundPieces(store, version, missing));
  }

  async #choose(command: Head<'fetch'>): Promise<Version> {
    const key = pathKey(command);
    const versions = await this.#parts.store.versions(nameOf(key));
    const wanted = command.version ?? versions.at(-1)?.version;
    const version = versions.find((each) => each.version === wanted);
    if (version === undefined) {
      const there = versions.length === 0 ? 'it has none' : `it has ${versions.map((each) => each.version).join(', ')}`;
      throw new CommandError(`there is no version ${wanted ?? ''} of ${registered(key)}: ${there}`.replace('  ', ' '));
    }
    if (isLost(version))
      throw new CommandError(`version ${version.version} of ${registered(key)} is lost: its record is damaged`);
    return version;
  }

  /** Whatever the admin asks for of it. */
  async #serveVersion(channel: Channel, manifest: AsyncGenerator<Buffer>): Promise<void> {
    const { store } = this.#parts;
    const kinds = ['more', 'need', 'suspect'] as const;
    for (let next = await channel.receive(...kinds); next !== undefined; next = await channel.receive(...kinds)) {
      if (next.head.kind === 'more') {
        const piece = await manifest.next();
        if (piece.done === true) await channel.send({ kind: 'manifest', more: false });
        else await channel.send({ kind: 'manifest', more: true }, piece.value);
      } else if (next.head.kind === 'suspect') {
        await this.#lookAgain(next.head.hash);
        await this.#answer(channel, null);
      } else {
        for await (const { bytes } of store.bundlesWith(unpackHashes(next.body))) await channel.send({ kind: 'bundle' }, bytes);
        await channel.send({ kind: 'sent' });
      }
    }
  }

  /** An admin received what is not what it should be: damage of which no scrub knows yet, or damage on the way. */
  async #lookAgain(hash: string): Promise<void> {
    const { store, log } = this.#parts;
    for await (const { pack, bundle, bytes } of store.bundlesWith([hash])) {
      if (isSound(bytes)) continue;
      log.error({ pack, offset: bundle.offset }, 'damage found');
      await scrub(store, Number.parseInt(pack.slice(0, 2), 16));
    }
  }
}

/** The manifest of a version, without what is damaged. */
async function* soundPieces(store: BackupStore, version: Version, missing: ReadonlySet<string>): AsyncGenerator<Buffer> {
  let lines = '';
  for await (const entry of entriesOf(store, version)) {
    if (!isDamaged(entry, missing)) lines += manifestLine(entry);
    if (lines.length < pieceBytes) continue;
    yield* manifestPieces(lines);
    lines = '';
  }
  yield* manifestPieces(lines);
}

function pathKey({ node, path }: Key): Key {
  const normal = normalPath(path);
  if ('problem' in normal) throw new CommandError(normal.problem);
  return { node, path: normal.path };
}
