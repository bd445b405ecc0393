/**
 * A restore in a thread of its own (restoring.ts): what comes is taken apart, checked and written here, while the one that has the
 * connection receives more.
 */
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { ExitError } from '@lab/process/exit-codes';
import { packedEntries } from './ask.ts';
import { DamagedError, Download, type Source } from './download.ts';
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
  /** It has room for one more message of the server. */
  | { kind: 'took' }
  | { kind: 'progress'; bytes: number }
  | { kind: 'restored'; restored: Restored }
  | { kind: 'failed'; message: string; exitCode: number }
  | { kind: 'damaged'; message: string; hash: string | undefined };

/** What it is told: messages of the server, and that no more come. */
export type Told = { kind: 'bundle' | 'sent' | 'broken'; body: Uint8Array };

const progressBytes = 1024 * 1024;

const port = parentPort!;
const say = (said: Said): void => port.postMessage(said);
const told: Told[] = [];
port.on('message', (message: Told) => told.push(message));

/** The server, by way of the one that has the connection. */
const source = {
  async send(_: unknown, body: Uint8Array) {
    say({ kind: 'need', body });
  },
  async expect() {
    while (told.length === 0) await once(port, 'message');
    const { kind, body } = told.shift()!;
    if (kind === 'broken') throw new ExitError('the connection broke');
    say({ kind: 'took' });
    return { head: { kind }, body: Buffer.from(body.buffer, body.byteOffset, body.byteLength) };
  },
} as Source;

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

try {
  say({ kind: 'restored', restored: await work(workerData as Work) });
} catch (error) {
  const { message } = error as Error;
  if (error instanceof DamagedError) say({ kind: 'damaged', message, hash: error.hash });
  else if (error instanceof ExitError) say({ kind: 'failed', message, exitCode: error.exitCode });
  else throw error;
} finally {
  port.close();
}
