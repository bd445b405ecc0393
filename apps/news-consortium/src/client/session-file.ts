/** The file that keeps a session between commands. Whoever reads it is its user, so nobody else may. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ExitError, exitCodes, pathError } from '@lab/process';
import { z } from 'zod';

const keptSchema = z.object({
  token: z.string(),
  name: z.string(),
  role: z.enum(['user', 'administrator']),
  /** ISO 8601. */
  expiresAt: z.iso.datetime(),
  /** Where agents were when the session was opened. */
  agents: z.array(z.string()),
});
export type Kept = z.infer<typeof keptSchema>;

/** It is there, but cannot be used; the message says what to do. */
export class SessionFileError extends ExitError {
  constructor(message: string, { exitCode = exitCodes.failed, ...options }: ErrorOptions & { exitCode?: number } = {}) {
    super(message, exitCode, options);
  }
}

/** More than a session with the longest names and a hundred agents. */
const bytesMax = 64 * 1024;
const forOthers = 0o077;

export class SessionFile {
  readonly #path: string;
  constructor(path: string) {
    this.#path = path;
  }

  /** Undefined where there is none. Throws `SessionFileError` for one that others can read, or that was not written by `save`. */
  async load(): Promise<Kept | undefined> {
    const text = await this.#read();
    if (text === undefined) return undefined;
    try {
      return keptSchema.parse(JSON.parse(text));
    } catch (cause) {
      throw new SessionFileError(`${this.#path} holds no session: log in again, and it is replaced`, { cause });
    }
  }

  /** All of it is there when it resolves, and otherwise what was there before. */
  async save(kept: Kept): Promise<void> {
    const temporary = `${this.#path}.${randomUUID()}`;
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await writeFile(temporary, `${JSON.stringify(kept)}\n`, { flag: 'wx', mode: 0o600, flush: true });
      await rename(temporary, this.#path);
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw new SessionFileError(`the session cannot be kept: ${(cause as Error).message}`, { cause });
    }
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }

  async #read(): Promise<string | undefined> {
    try {
      await using file = await open(this.#path);
      this.#check(await file.stat());
      return await file.readFile('utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      if (cause instanceof SessionFileError) throw cause;
      const { message, exitCode } = pathError(cause, 'the session cannot be read: ');
      throw new SessionFileError(message, { cause, exitCode });
    }
  }

  #check({ mode, uid, size }: { mode: number; uid: number; size: number }): void {
    if ((mode & forOthers) !== 0 || uid !== (process.getuid?.() ?? uid))
      throw new SessionFileError(
        `${this.#path} could be read or written by others, so it is not trusted: log out where it was used and log in again, and it is replaced`,
      );
    if (size > bytesMax) throw new SessionFileError(`${this.#path} holds no session: log in again, and it is replaced`);
  }
}
