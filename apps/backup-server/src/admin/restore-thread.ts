/**
 * A restore in a thread of its own (restoring.ts): what comes is put in order and written here, while the one that has the
 * connection receives more, takes it apart and checks it.
 */
import { once } from 'node:events';
import { parentPort } from 'node:worker_threads';
import { ExitError } from '@lab/process/exit-codes';
import { packedEntries } from './ask.ts';
import { DamagedError, Download, type Opened, type Source } from './download.ts';
import { restoreTo, type Restored, type Restoring } from './restore.ts';

/** What is restored, and where. */
export interface Work extends Pick<Restoring, 'name' | 'partial'> {
  folder: string;
  packed: readonly Uint8Array[];
  /** A byte for each entry, as of `Wanted`. */
  wanted: Uint8Array;
}

/** What the thread says. */
export type Said =
  /** What is there is as it should be: from now on something may be written. */
  | { kind: 'begun' }
  | { kind: 'need'; body: Uint8Array }
  /** It has room for one more bundle. */
  | { kind: 'took' }
  | { kind: 'progress'; bytes: number }
  | { kind: 'restored'; restored: Restored }
  | { kind: 'failed'; message: string; exitCode: number }
  | { kind: 'damaged'; message: string; hash: string | undefined };

/** What it is told after its work: what the server sends, that this was all of a `need`, and that no more comes. */
export type Told = { kind: 'bundle'; opened: Opened } | { kind: 'sent' } | { kind: 'broken' };

const progressBytes = 1024 * 1024;

const port = parentPort!;
const say = (said: Said): void => port.postMessage(said);
const told: Told[] = [];

/** The server, by way of the one that has the connection. */
const source: Source = {
  async need(body) {
    say({ kind: 'need', body });
  },
  async next() {
    while (told.length === 0) await once(port, 'message');
    const next = told.shift()!;
    if (next.kind === 'broken') throw new ExitError('the connection broke');
    if (next.kind === 'sent') return undefined;
    say({ kind: 'took' });
    return next.opened;
  },
};

async function work({ folder, name, partial, packed, wanted }: Work): Promise<Restored> {
  let bytes = 0;
  const progress = (more: number): void => {
    bytes += more;
    if (bytes < progressBytes) return;
    say({ kind: 'progress', bytes });
    bytes = 0;
  };
  const restored = await restoreTo(folder, {
    all: packedEntries(packed),
    isWanted: (_, index) => wanted[index] === 1,
    isLeftOut: (index) => wanted[index] === 2,
    download: (needs) => {
      say({ kind: 'begun' });
      return new Download(source, needs);
    },
    progress,
    name,
    partial,
  });
  say({ kind: 'progress', bytes });
  return restored;
}

const [given] = (await once(port, 'message')) as [Work];
port.on('message', (message: Told) => told.push(message));
try {
  say({ kind: 'restored', restored: await work(given) });
} catch (error) {
  const { message } = error as Error;
  if (error instanceof DamagedError) say({ kind: 'damaged', message, hash: error.hash });
  else if (error instanceof ExitError) say({ kind: 'failed', message, exitCode: error.exitCode });
  else throw error;
} finally {
  port.close();
}
