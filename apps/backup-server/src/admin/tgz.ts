/**
 * Writes a version as a .tgz, as `tar czf` in the root of the node would have made it, with all cores: a gzip file may have
 * many members, made side by side.
 */
import { lstat, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { ExitError, exitCodes, pathError } from '@lab/process';
import { release } from '@lab/process/release';
import { DamagedError, type Download } from './download.ts';
import { chunksOf, type Entry } from '../domain/manifest.ts';
import { padding, tarEnd, tarHeader } from '../domain/tar.ts';
import { damagedReason, type Restored, type Restoring } from './restore.ts';

const compress = promisify(gzip);
/** A member of the gzip file: large enough that its beginning, without a history to refer to, costs nothing. */
const memberBytes = 512 * 1024;
/** Members that are being compressed: libuv has four threads. */
const membersAtOnce = 6;

/** Nobody else's: two may save to one file, and the slower one is what it is in the end. */
const partOf = (file: string): string => `${file}.${process.pid}.part`;

/** That the file can be written; before anything is asked of the server. A device, a pipe or a link would be gone: what is complete takes its name. */
export async function checkWritable(file: string): Promise<void> {
  const stats = await lstat(file).catch(() => undefined);
  if (stats !== undefined && !stats.isFile())
    throw new ExitError(`--save-to ${file} is no file, and stays: give a file, which query writes or replaces`, exitCodes.usage);
  try {
    const part = await open(partOf(file), 'wx');
    await part.close();
  } catch (cause) {
    throw pathError(cause, `--save-to ${file} cannot be written: `);
  }
  await rm(partOf(file));
}

export interface Saving extends Pick<Restoring, 'progress'> {
  /** Of the version. */
  path: string;
  entries: Iterable<Entry>;
  content: Pick<Download, 'take'>;
  /** Damage rejects only where this is not set. */
  partial: boolean;
}

/**
 * Resolves when the file is complete; it has its name only then. Of damage, when all content has been taken: no file is written then,
 * for what is in it cannot be taken out again.
 */
export async function writeTgz(file: string, { path, entries, content, progress, partial }: Saving): Promise<Restored> {
  const part = partOf(file);
  const output = await open(part, 'wx');
  const { unwritten, damage }: Restored = { unwritten: [], damage: [] };
  try {
    const members = new Members(output);
    const add = async (bytes: Uint8Array): Promise<void> => {
      if (damage.length === 0) await members.add(bytes);
    };
    for (const entry of entries) {
      const name = [path, entry.path].filter((each) => each !== '').join('/');
      const header = tarHeader(entry, name);
      await add(header);
      release(header);
      if (entry.type !== 'file') continue;
      for (const chunk of chunksOf(entry)) {
        try {
          await add(await content.take(chunk));
        } catch (error) {
          if (!partial || !(error instanceof DamagedError)) throw error;
          if (unwritten.at(-1)?.path !== entry.path) {
            unwritten.push({ path: entry.path, reason: damagedReason });
            damage.push({ hash: error.hash });
          }
        }
        progress(chunk[1]);
      }
      await add(padding(entry.size));
    }
    await add(tarEnd);
    await members.end();
    await output.sync();
    await output.close();
    await (damage.length === 0 ? rename(part, file) : rm(part));
    return { unwritten, damage };
  } catch (error) {
    await output.close().catch(() => undefined);
    await rm(part, { force: true });
    throw error;
  }
}

class Members {
  readonly #output: FileHandle;
  /** Copies: a million views of as many buffers are found out by the collector late. */
  #member = Buffer.allocUnsafe(memberBytes);
  #bytes = 0;
  readonly #compressing: Promise<Buffer>[] = [];

  constructor(output: FileHandle) {
    this.#output = output;
  }

  async add(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + memberBytes - this.#bytes);
      this.#member.set(part, this.#bytes);
      this.#bytes += part.length;
      at += part.length;
      if (this.#bytes < memberBytes) return;
      this.#beginMember();
      while (this.#compressing.length >= membersAtOnce) await this.#writeOne();
    }
  }

  async end(): Promise<void> {
    this.#beginMember();
    while (this.#compressing.length > 0) await this.#writeOne();
  }

  #beginMember(): void {
    if (this.#bytes === 0) return;
    const whole = this.#member;
    const member = compress(whole.subarray(0, this.#bytes)).finally(() => release(whole));
    member.catch(() => undefined);
    this.#compressing.push(member);
    this.#member = Buffer.allocUnsafe(memberBytes);
    this.#bytes = 0;
  }

  async #writeOne(): Promise<void> {
    const member = await this.#compressing.shift()!;
    await this.#output.writeFile(member);
    release(member);
  }
}
