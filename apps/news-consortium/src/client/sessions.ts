/** Keeps sessions between commands, each in a file. Whoever reads one is its user, so nobody else may. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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
  /** The certificate that they showed, in PEM; without it they did not speak TLS. */
  ca: z.string().optional(),
});
export type Kept = z.infer<typeof keptSchema>;

/** It is there, but cannot be used; the message says what to do. */
export class SessionsError extends ExitError {
  constructor(message: string, { exitCode = exitCodes.failed, ...options }: ErrorOptions & { exitCode?: number } = {}) {
    super(message, exitCode, options);
  }
}

/** More than a session with the longest names and a hundred agents. */
const bytesMax = 64 * 1024;
const forOthers = 0o077;

/** Not every file system takes every name, and tells it from all others. */
const fileOf = (name: string): string => `of-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`;

export class Sessions {
  readonly #folder: string;
  /** A link to the session that was opened last. */
  readonly #last: string;
  readonly #as: string | undefined;

  /** Those of all users are in one folder. `as` is the one whose session it is about; else, who logged in last. */
  constructor(folder: string, as?: string) {
    this.#folder = folder;
    this.#last = join(folder, 'session');
    this.#as = as;
  }

  get #path(): string {
    return this.#as === undefined ? this.#last : join(this.#folder, fileOf(this.#as));
  }

  /** Undefined where there is none. Throws `SessionsError` for one that others can read, or that was not written by `save`. */
  async load(): Promise<Kept | undefined> {
    const text = await this.#read();
    if (text === undefined) return undefined;
    try {
      return keptSchema.parse(JSON.parse(text));
    } catch (cause) {
      throw new SessionsError(`${this.#path} holds no session: log in again, and it is replaced`, { cause });
    }
  }

  /** All of it is there when it resolves. When it rejects what was there before still is, but for who logged in last. */
  async save(kept: Kept): Promise<void> {
    const temporary = join(this.#folder, randomUUID());
    const replace = (name: string): Promise<void> => rename(temporary, join(this.#folder, name));
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await writeFile(temporary, `${JSON.stringify(kept)}\n`, { flag: 'wx', mode: 0o600, flush: true });
      await replace(fileOf(kept.name));
      if (this.#as !== undefined) return;
      await symlink(fileOf(kept.name), temporary);
      await replace('session');
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw new SessionsError(`the session cannot be kept: ${(cause as Error).message}`, { cause });
    }
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.#folder, fileOf(name)), { force: true });
    // Somebody else may have logged in since.
    const last = await readlink(this.#last).catch(() => fileOf(name));
    if (last === fileOf(name)) await rm(this.#last, { force: true });
  }

  async #read(): Promise<string | undefined> {
    try {
      await using file = await open(this.#path);
      this.#check(await file.stat());
      return await file.readFile('utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      if (cause instanceof SessionsError) throw cause;
      const { message, exitCode } = pathError(cause, 'the session cannot be read: ');
      throw new SessionsError(message, { cause, exitCode });
    }
  }

  #check({ mode, uid, size }: { mode: number; uid: number; size: number }): void {
    if ((mode & forOthers) !== 0 || uid !== (process.getuid?.() ?? uid))
      throw new SessionsError(
        `${this.#path} could be read or written by others, so it is not trusted: log out where it was used and log in again, and it is replaced`,
      );
    if (size > bytesMax) throw new SessionsError(`${this.#path} holds no session: log in again, and it is replaced`);
  }
}
