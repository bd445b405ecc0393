/**
 * What is answered from the store alone: which versions there are, what is in them, and whether all of it is as it was written. By
 * the server, and by who has the store's folder and no server.
 */
import type { Clock, Logger } from '@lab/process';
import { isLost, MissingBlobsError, scrub, type Finding, type LostVersion } from '@lab/store';
import type { Channel } from '../channel/channel.ts';
import { manifestBytesMax, manifestLine } from '../domain/manifest.ts';
import { normalPath } from '../domain/paths.ts';
import { registered } from '../domain/registry.ts';
import {
  packBytes,
  packJson,
  pieceBytes,
  pieces,
  reasonLength,
  unpackHashes,
  type Head,
  type Kind,
  type Message,
} from '../messages.ts';
import { entriesOf, keyOf, nameOf, type BackupStore, type Key, type Version } from '../versions.ts';
import { isDamaged, isSound, namedMax } from './damage.ts';

/** A command cannot be done, for a reason that its admin should read. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code: number;
  constructor(message: string, code = 1) {
    super(message);
    this.code = code;
  }
}

/** What `list` answers for a version. */
export interface ListedVersion extends Omit<Version, 'name' | 'manifest'> {
  state: 'whole' | 'damaged' | 'lost';
  /** Files that cannot be restored as they were. */
  damaged: number;
  /** The first ten of them; `files` shows all. */
  damagedFiles: string[];
  /** Its record or manifest is damaged: while it is there nothing is swept that was stored before that was found. */
  stopsSweeps: boolean;
}

export interface VerifyResult {
  bytes: number;
  findings: Finding[];
  damaged: ListedVersion[];
}

export interface SuspectAnswer {
  /** Whether the version that was fetched is there still. */
  isThere: boolean;
}

export const storeCommands = ['list', 'verify', 'fetch', 'need', 'suspect', 'working'] as const;
export type StoreCommandKind = (typeof storeCommands)[number];

export const isStoreCommand = (kind: string): kind is StoreCommandKind => (storeCommands as readonly string[]).includes(kind);

export interface StoreCommandsParts {
  store: BackupStore;
  clock: Clock;
  log: Logger;
}

const workingMs = 1_000;
/** From a version of which nothing can be restored. */
const wayOut =
  'The next backup makes a whole one of what the node still has; an older or newer version may be whole: "list" shows them';

/** Answers what is asked on one connection. */
export class StoreCommands {
  readonly #parts: StoreCommandsParts;
  readonly #channel: Channel;
  /** What was fetched last: content is asked for of it. */
  #fetched: Version | undefined;
  #endReading = async (): Promise<void> => {};

  constructor(parts: StoreCommandsParts, channel: Channel) {
    this.#parts = parts;
    this.#channel = channel;
  }

  /** No more content is asked for: what retention has removed meanwhile may go. */
  async close(): Promise<void> {
    const end = this.#endReading;
    this.#endReading = async () => {};
    await end();
  }

  async obey({ head, body }: Message<StoreCommandKind>): Promise<void> {
    if (head.kind === 'list') return sendAnswer(this.#channel, await listed(this.#parts.store, head));
    if (head.kind === 'verify') return sendAnswer(this.#channel, await this.#verify());
    if (head.kind === 'fetch') return this.#fetch(head);
    if (head.kind === 'need') return this.#send(unpackHashes(body));
    // Not to be taken for one who hangs: it writes what came, or looks through what it has.
    if (head.kind === 'working') return;
    await this.#lookAgain(head.hash);
    return sendAnswer(this.#channel, { isThere: await this.#isThere() } satisfies SuspectAnswer);
  }

  async #verify(): Promise<VerifyResult> {
    const { store, clock, log } = this.#parts;
    const total = store.usage().bytes;
    let bytes = 0;
    const working = (): void =>
      void this.#channel.send({ kind: 'working', files: 0, bytes, sentBytes: 0, total }).catch(() => undefined);
    const stopWorking = clock.every(workingMs, working);
    try {
      const result = await scrub(store, undefined, (more) => (bytes += more));
      for (const finding of result.findings) log.error(finding, 'damage found');
      return { ...result, damaged: (await listed(store)).filter(({ state }) => state !== 'whole') };
    } finally {
      stopWorking();
    }
  }

  /** Sends a version: its record, its manifest, and which of its files are damaged. */
  async #fetch(command: Head<'fetch'>): Promise<void> {
    const { store } = this.#parts;
    const version = await findVersion(store, command);
    // Only now: what it needs was there before it was.
    await store.refresh();
    if (isLost(version))
      throw new CommandError(
        `version ${version.version} of ${registered(keyOf(version.name))} is lost: its record is damaged. ${wayOut}`,
      );
    const missing = new Set(await store.missingOf(version));
    if (version.manifest.some((hash) => missing.has(hash)))
      throw new CommandError(
        `version ${version.version} of ${registered(version)} cannot be restored: its manifest is damaged. ${wayOut}`,
      );
    await this.close();
    this.#endReading = await store.beginReading(version);
    this.#fetched = version;
    await this.#channel.send({ kind: 'version' }, packJson(version));
    const damaged: number[] = [];
    let lines = '';
    for await (const entry of entriesOf(store, version)) {
      damaged.push(isDamaged(entry, missing) ? 1 : 0);
      lines += manifestLine(entry);
      if (lines.length < pieceBytes) continue;
      await this.#sendPieces(lines, true);
      lines = '';
    }
    await this.#sendPieces(lines, false);
    await this.#channel.send({ kind: 'damaged' }, packBytes(Buffer.from(damaged)));
  }

  async #sendPieces(lines: string, more: boolean): Promise<void> {
    for (const { head, body } of pieces('manifest', lines, more)) await this.#channel.send(head, body);
  }

  /** The bundles with these blobs. What is damaged or gone does not come, and its admin asks why. */
  async #send(hashes: readonly string[]): Promise<void> {
    const { store } = this.#parts;
    for (let wanted = new Set(hashes); wanted.size > 0;)
      try {
        for await (const { bytes } of store.bundlesWith(wanted)) await this.#channel.give({ kind: 'bundle' }, bytes);
        break;
      } catch (error) {
        if (!(error instanceof MissingBlobsError)) throw error;
        wanted = new Set([...wanted].filter((hash) => !error.hashes.includes(hash)));
      }
    await this.#channel.send({ kind: 'sent' });
  }

  /** An admin received what is not what it should be: damage of which no scrub knows yet, or damage on the way. */
  async #lookAgain(hash: string): Promise<void> {
    const { store, log } = this.#parts;
    try {
      for await (const { pack, bundle, bytes } of store.bundlesWith([hash])) {
        if (isSound(bytes)) continue;
        log.error({ pack, offset: bundle.offset }, 'damage found');
        await scrub(store, Number.parseInt(pack.slice(0, 2), 16));
      }
    } catch (error) {
      // Known by now.
      if (!(error instanceof MissingBlobsError)) throw error;
    }
  }

  async #isThere(): Promise<boolean> {
    return this.#fetched === undefined || isThere(this.#parts.store, this.#fetched);
  }
}

/** Obeys one command after another; of one that cannot be done its admin reads why, whatever it is. */
export async function serveCommands<K extends Kind>(
  channel: Channel,
  kinds: readonly K[],
  obey: (message: Message<K>) => Promise<void>,
  log: Logger,
): Promise<void> {
  for (let message = await channel.receive(...kinds); message !== undefined; message = await channel.receive(...kinds))
    try {
      await obey(message);
    } catch (error) {
      const code = error instanceof CommandError ? error.code : undefined;
      if (code === undefined) log.error({ err: error, command: message.head.kind }, 'command failed');
      await channel.send({ kind: 'failed', reason: (error as Error).message.slice(0, reasonLength), code });
    }
}

/** Any answer to a command, within what an admin takes. */
export async function sendAnswer(channel: Channel, value: unknown): Promise<void> {
  const text = JSON.stringify(value);
  if (Buffer.byteLength(text) > manifestBytesMax)
    throw new CommandError(`the answer is longer than ${manifestBytesMax} bytes: ask for less, by --node, --path or --last`);
  for (const { head, body } of pieces('answer', text)) await channel.send(head, body);
}

/** The version that a command names, by default the newest. */
export async function findVersion(
  store: BackupStore,
  { version: number, ...named }: Key & { version?: number | undefined },
): Promise<Version | LostVersion> {
  const key = pathKey(named);
  const versions = await store.versions(nameOf(key));
  const version = number === undefined ? versions.at(-1) : versions.find((each) => each.version === number);
  if (version !== undefined) return version;
  const wanted = number === undefined ? 'no version' : `no version ${number}`;
  throw new CommandError(`there is ${wanted} of ${registered(key)}: ${thereText(versions)}`);
}

function thereText(versions: readonly { version: number }[]): string {
  if (versions.length === 0) return 'it has none';
  const [from, to] = [versions[0]!.version, versions.at(-1)!.version];
  return versions.length === 1 ? `it has ${from} only` : `it has ${versions.length}, from ${from} to ${to}`;
}

/** A path as an admin names it, in its one spelling. */
export function pathKey({ node, path }: Key): Key {
  const normal = normalPath(path);
  if ('problem' in normal) throw new CommandError(`"${path}": ${normal.problem}`);
  return { node, path: normal.path };
}

/** All versions, or those of a node, of a path, or the newest so many of each; the oldest first. */
export async function listed(store: BackupStore, wanted: Omit<Head<'list'>, 'kind'> = {}): Promise<ListedVersion[]> {
  const { node, last } = wanted;
  const path = wanted.path === undefined ? undefined : pathKey({ node: '', path: wanted.path }).path;
  const names = new Map<string, (Version | LostVersion)[]>();
  const only = node === undefined || path === undefined ? undefined : nameOf({ node, path });
  for (const version of await store.versions(only)) {
    const key = keyOf(version.name);
    if ((node ?? key.node) !== key.node || (path ?? key.path) !== key.path) continue;
    const versions = names.get(version.name);
    if (versions === undefined) names.set(version.name, [version]);
    else versions.push(version);
  }
  // Only now: what a version needs was there before it was.
  await store.refresh();
  const found: ListedVersion[] = [];
  for (const versions of names.values()) found.push(...(await listedOf(store, versions, last)));
  return found;
}

/** Of one name. Of a version that was removed meanwhile its content may be, too; then others may have come. */
async function listedOf(store: BackupStore, versions: (Version | LostVersion)[], last?: number): Promise<ListedVersion[]> {
  const found: ListedVersion[] = [];
  for (const version of versions.slice(-(last ?? versions.length))) {
    const each = await listedVersion(store, version);
    if (each.state === 'damaged' && !(await isThere(store, version))) {
      const now = await store.versions(version.name);
      await store.refresh();
      return listedOf(store, now, last);
    }
    found.push(each);
  }
  return found;
}

const isThere = async (store: BackupStore, { name, version }: { name: string; version: number }): Promise<boolean> =>
  (await store.versions(name)).some((each) => each.version === version);

async function listedVersion(store: BackupStore, version: Version | LostVersion): Promise<ListedVersion> {
  if (isLost(version)) {
    const nothing = { createdMs: 0, checksum: '', files: 0, bytes: 0, storedBytes: 0, notes: [], damaged: 0 };
    const damagedFiles = ['all of them: its record is damaged'];
    return { ...keyOf(version.name), version: version.version, ...nothing, state: 'lost', damagedFiles, stopsSweeps: true };
  }
  const { name, manifest, ...record } = version;
  const missing = new Set(await store.missingOf(version));
  if (missing.size === 0) return { ...record, state: 'whole', damaged: 0, damagedFiles: [], stopsSweeps: false };
  if (manifest.some((hash) => missing.has(hash)))
    return {
      ...record,
      state: 'damaged',
      damaged: record.files,
      damagedFiles: ['all of them: the manifest is damaged'],
      stopsSweeps: true,
    };
  const damagedFiles: string[] = [];
  let damaged = 0;
  for await (const entry of entriesOf(store, version))
    if (isDamaged(entry, missing) && ++damaged <= namedMax) damagedFiles.push(entry.path === '' ? record.path : entry.path);
  return { ...record, state: 'damaged', damaged, damagedFiles, stopsSweeps: false };
}
