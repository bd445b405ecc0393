/** A dump of another machine's database, as replicas are filled from it and backups are made of it. */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Clock } from '@lab/process';
import { ended, environmentWith } from './command.ts';

export interface DumpOptions {
  readonly host: string;
  readonly user: string;
  readonly password: string;
  readonly databaseName: string;
  /** How the dump says its place in the history: by a statement, or by a comment. */
  readonly position: 'statement' | 'comment';
  readonly clock: Clock;
}

/** From a machine that was cut off nothing comes, not even the end of the connection. A database that lives may need some seconds for a row. */
const silentMs = 60_000;
const lookMs = 1_000;

/** Of one moment, without locks. `whole` rejects where it is not whole, also when nothing has come for a minute though the reader wanted more. */
export function dumpDatabase(options: DumpOptions): { readonly output: Readable; readonly whole: Promise<void> } {
  const { host, user, password, databaseName, position, clock } = options;
  const what = ['--single-transaction', '--gtid', '--routines', '--triggers', '--events', '--hex-blob'];
  const place = `--master-data=${position === 'statement' ? 1 : 2}`;
  const child = spawn('mariadb-dump', [`--host=${host}`, `--user=${user}`, ...what, place, '--databases', databaseName, 'ha'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environmentWith(password),
  });
  const cancel = whenSilent(child.stdout, clock, () => child.kill('SIGKILL'));
  return { output: child.stdout, whole: ended(child, 'mariadb-dump').finally(cancel) };
}

/** Calls when nothing has come for a minute in which the reader did not hold the stream back. Leaves the stream to be read; the returned function ends the watch. */
export function whenSilent(stream: Readable, clock: Clock, call: () => void): () => void {
  let heardMs = clock.nowMs();
  stream.on('data', () => (heardMs = clock.nowMs())).pause();
  return clock.every(lookMs, () => {
    if (stream.isPaused()) heardMs = clock.nowMs();
    else if (clock.nowMs() - heardMs > silentMs) call();
  });
}
