/** Content creator: writes a line a second to a file, so that there is always something new to back up. */
import type { Clock, Logger, Role } from '@lab/process';

export interface ContentCreatorParts {
  name: string;
  clock: Clock;
  log: Logger;
  /** Appends to the file; makes it, and the folders above it, when they are missing. */
  append: (line: string) => Promise<void>;
  intervalMs: number;
}

export class ContentCreatorRole implements Role {
  readonly #parts: ContentCreatorParts;
  readonly #failed = Promise.withResolvers<never>();
  readonly failed = this.#failed.promise;
  #lines = 0;
  #writing: Promise<void> = Promise.resolve();
  #stopWriting: () => void = () => {};

  constructor(parts: ContentCreatorParts) {
    this.#parts = parts;
    this.failed.catch(() => undefined);
  }

  async start(): Promise<void> {
    await this.#write();
    this.#stopWriting = this.#parts.clock.every(this.#parts.intervalMs, () => {
      this.#writing = this.#writing.then(() => this.#write()).catch((error: unknown) => this.#failed.reject(error));
    });
  }

  async stop(): Promise<void> {
    this.#stopWriting();
    await this.#writing;
    this.#parts.log.info({ lines: this.#lines }, 'content written');
  }

  async #write(): Promise<void> {
    const { append, name } = this.#parts;
    await append(`${name} wrote line ${++this.#lines}\n`);
  }
}
