/** The changes of the present primary, from where the archive ends, as they are made. */
import type { ChildProcess } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Logger } from '@lab/process';
import { ended } from '../../database/command.ts';
import { sequenceOf, type History } from '../../database/domain/history.ts';
import { keepLooking } from '../../looking.ts';
import type { Archive } from './archive.ts';
import { fetchChanges, firstLog, primaryOf, type FirstLog, type LogPlace, type SourceOptions } from './source.ts';

export interface FollowerParts {
  readonly archive: Archive;
  readonly source: SourceOptions;
  readonly clock: Clock;
  /** Milliseconds since 1970, for names. */
  readonly nowMs: () => number;
  readonly log: Logger;
  /** Called where changes are not to be had anymore: only a new dump is continued by what comes. */
  readonly missed: () => void;
}

/** How often it looks. From a machine that was cut off, or lost power and came back, nothing comes, not even the end of the connection. */
const lookMs = 5_000;

/** One connection. */
export class Follower {
  readonly #parts: FollowerParts;
  readonly #stop = new AbortController();

  constructor(parts: FollowerParts) {
    this.#parts = parts;
  }

  /** Rejects when the connection has ended, and where there is no primary. */
  async run(): Promise<void> {
    const { archive, source, nowMs, log } = this.#parts;
    const primary = (await primaryOf(source))?.address;
    if (primary === undefined) throw new Error('there is no primary');
    const history = await archive.history();
    const first = await firstLog(primary, history, source);
    await this.#tellGap(first, history);
    const folder = await archive.beginChanges(`${new Date(nowMs()).toISOString().replaceAll(':', '-')}-${primary}`);
    if (this.#stop.signal.aborted) return;
    const child = fetchChanges(primary, first.name, folder, source);
    this.#stop.signal.addEventListener('abort', () => child.kill('SIGKILL'));
    log.info({ primary, from: first.name, after: history.last }, 'receives changes');
    const stopLooking = this.#look(child, primary, folder);
    await ended(child, 'mariadb-binlog').finally(stopLooking);
  }

  stop(): void {
    this.#stop.abort();
  }

  async #tellGap({ joins, after }: FirstLog, history: History): Promise<void> {
    const newest = (await this.#parts.archive.list()).at(-1);
    // Where there is no dump yet, the first one is under way.
    if (joins || after === history.last || newest === undefined || after <= sequenceOf(newest.position)) return;
    this.#parts.log.warn({ dump: newest.name, last: history.last, after }, 'changes are missing: the primary keeps them no more');
    this.#parts.missed();
  }

  /** Ends the program when another database is the primary, and when it receives nothing while the primary goes on. */
  #look(child: ChildProcess, primary: string, folder: string): () => Promise<void> {
    const { source, clock, log } = this.#parts;
    let before: Look = { primary: undefined, received: undefined };
    const look = async (): Promise<void> => {
      const present = await primaryOf(source);
      const now = { primary: present?.place, received: await newestIn(folder) };
      if (present !== undefined && present.address !== primary) child.kill('SIGKILL');
      else if (standsStill(before, now)) {
        log.warn({ address: primary, ...now }, 'the connection brings nothing: begins another one');
        child.kill('SIGKILL');
      }
      before = now;
    };
    const failed = (error: unknown): void => log.warn({ err: error }, 'cannot compare what was received');
    return keepLooking(clock, lookMs, () => look().catch(failed));
  }
}

/** Ends of two logs: the primary's, and of that what has come. */
export interface Look {
  readonly primary: LogPlace | undefined;
  readonly received: LogPlace | undefined;
}

/** Whether nothing has come from one look to the next, though the primary had more already at the first. */
export function standsStill(before: Look, now: Look): boolean {
  if (before.primary === undefined) return false;
  const [had, has] = [before.received, now.received];
  if (has === undefined) return true;
  if (had?.log !== has.log || had.bytes !== has.bytes) return false;
  return has.log < before.primary.log || (has.log === before.primary.log && has.bytes < before.primary.bytes);
}

async function newestIn(folder: string): Promise<LogPlace | undefined> {
  const log = (await readdir(folder)).sort().at(-1);
  return log === undefined ? undefined : { log, bytes: (await stat(join(folder, log))).size };
}
