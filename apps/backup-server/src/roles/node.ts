/**
 * A node: serves backups of paths below its root to requesters. It offers hashes, and sends what is wanted; of that, no more
 * than one chunk is ever under way that the requester has not kept, so that is what an interruption costs.
 */
import type { Clock, Logger, Role } from '@lab/process';
import type { FramedServer } from '@lab/protocol';
import type { Blob, BundleParts } from '@lab/store/bundle';
import type { Channel } from '../channel/channel.ts';
import { count, entriesMax, manifestBytesMax, type Totals } from '../domain/manifest.ts';
import { TreeChecksum, type Head } from '../messages.ts';
import { entryOf, inTurns, Sending } from '../transfer/sending.ts';
import { PathError, type Tree, type Walk } from '../tree/tree.ts';

export interface NodeParts {
  name: string;
  tree: Pick<Tree, 'open'>;
  clock: Clock;
  log: Logger;
  /** Makes a bundle of what is wanted, beside the reading and hashing of what comes next. */
  bundle: (blobs: readonly Blob[]) => Promise<BundleParts>;
  listen: (serve: (channel: Channel) => Promise<void>) => Promise<FramedServer>;
}

const workingMs = 1_000;

export class NodeRole implements Role {
  readonly #parts: NodeParts;
  #server: FramedServer | undefined;

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  /** The port that it listens at, from its start on. */
  get port(): number {
    return this.#server?.port ?? 0;
  }

  async start(): Promise<void> {
    this.#server = await this.#parts.listen((channel) => this.#serve(channel));
    const { host, port } = this.#server;
    this.#parts.log.info({ host, port }, 'serving backups');
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }

  async #serve(channel: Channel): Promise<void> {
    for (let message = await channel.receive('backup'); message !== undefined; message = await channel.receive('backup')) {
      try {
        await this.#backUp(channel, message.head);
      } catch (error) {
        this.#parts.log.warn({ path: message.head.path, err: error }, 'backup broken off');
        if (!(error instanceof PathError)) throw error;
        await channel.send({ kind: 'failed', reason: error.message });
        // Somebody may still be reading: only the end of the connection comes to everybody, and behind the reason.
        return channel.close();
      }
    }
  }

  async #backUp(channel: Channel, { path, checksum, ...scope }: Head<'backup'>): Promise<void> {
    const { tree, clock, log, bundle } = this.#parts;
    const working = { files: 0, bytes: 0, sentBytes: 0 };
    const stopWorking = clock.every(workingMs, () => void channel.send({ kind: 'working', ...working }).catch(() => undefined));
    try {
      using walk = tree.open(path, scope);
      if (checksum !== undefined && (await isUnchanged(walk, checksum, working))) {
        await channel.send({ kind: 'unchanged', files: working.files, bytes: working.bytes });
        return log.debug({ path }, 'unchanged');
      }
      await walk.checkSize(entriesMax, manifestBytesMax);
      Object.assign(working, { files: 0, bytes: 0 });
      const { outcome } = await new Sending({ channel, walk, bundle }, path, working).run();
      log.info({ path, ...outcome }, 'backed up');
    } finally {
      stopWorking();
    }
  }
}

/** Whether nothing has to be read to know that the tree has this checksum; else it ends at the first file that has. */
async function isUnchanged(walk: Walk, checksum: string, working: Totals): Promise<boolean> {
  const sum = new TreeChecksum();
  for await (const item of inTurns(walk)) {
    if (item.type === 'file' && item.known === undefined) return false;
    const entry = item.type === 'file' ? entryOf(item, item.known!) : item;
    sum.add(entry);
    count(working, entry);
  }
  return sum.digest() === checksum;
}
