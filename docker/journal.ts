/** What `npx nx break` did to a system since its `up`, for whoever looks at it: a file of JSON lines in the folder of the app. */
import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { say } from './engine.ts';

/** In the folder of the app. */
export const journalFile = 'tmp/faults.jsonl';

/** Some thousand faults; then it begins anew. */
const bytesMax = 1024 * 1024;

export interface JournalLine {
  readonly atMs: number;
  readonly event: 'struck' | 'ended' | 'down';
  /** Of the fault. One that was healed by another command is not known: then all of its target have ended. */
  readonly id?: string;
  /** None of what is done to all. */
  readonly target: string;
  readonly verb?: string;
  /** In words: `slow by 200ms`, `healed`. */
  readonly what: string;
}

export class Journal {
  readonly #path: string;

  constructor(directory: string) {
    this.#path = join(directory, journalFile);
  }

  /** There is nothing in it. */
  begin(): void {
    this.#try(() => this.#empty());
  }

  /** A fault has struck. Returns its id. */
  struck(target: string, verb: string, what: string): string {
    const id = randomUUID();
    this.#write({ atMs: Date.now(), event: 'struck', id, target, verb, what });
    return id;
  }

  ended(target: string, what: string, id?: string): void {
    this.#write({ atMs: Date.now(), event: 'ended', ...(id !== undefined && { id }), target, what });
  }

  /** All of it is being taken down in good order. */
  down(): void {
    this.#write({ atMs: Date.now(), event: 'down', target: '', what: 'taken down' });
  }

  #write(line: JournalLine): void {
    this.#try(() => {
      if ((statSync(this.#path, { throwIfNoEntry: false })?.size ?? Infinity) > bytesMax) this.#empty();
      appendFileSync(this.#path, `${JSON.stringify(line)}\n`);
    });
  }

  #empty(): void {
    mkdirSync(dirname(this.#path), { recursive: true });
    writeFileSync(this.#path, '');
  }

  /** A system starts, and a fault that strikes ends, in any case. */
  #try(write: () => void): void {
    try {
      write();
    } catch (error) {
      say(`not written down: ${(error as Error).message}`);
    }
  }
}
