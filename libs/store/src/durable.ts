/**
 * Files that are there as a whole or not at all, whenever the power goes: write aside, sync, give it its name, sync the folder.
 * "Durable" is what a crash of the machine cannot take away.
 */
import { hash as digest, randomUUID } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { systemDisk, type Disk } from './disk.ts';

/** Makes durable what was written to a file, or which names a folder has. */
export async function sync(path: string, disk: Disk = systemDisk): Promise<void> {
  const handle = await disk.open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a file's name durable, on any file system: GlusterFS keeps a name that the file's own sync asks for, and no folder's. */
export async function syncName(path: string, disk: Disk = systemDisk): Promise<void> {
  await sync(dirname(path), disk);
  await sync(path, disk);
}

/** Makes a folder durably, with those around it that are missing. */
export async function makeFolder(path: string, disk: Disk = systemDisk, mode = 0o777): Promise<void> {
  await disk.mkdir(path, { recursive: true, mode });
  // All, for whoever made them may have been killed before this. One that cannot be synced is not of our making.
  for (let at = path; at !== dirname(at); at = dirname(at))
    await sync(dirname(at), disk).catch((error: unknown) => {
      if (!hasCode(error, 'EACCES', 'EPERM', 'EINVAL', 'EROFS')) throw error;
    });
}

/** Writes a file and syncs it; its name is not yet durable. Leaves nothing behind where that fails. */
export async function writeSynced(path: string, bytes: Uint8Array | string, disk: Disk = systemDisk): Promise<void> {
  const file = await disk.open(path, 'w');
  try {
    await file.writeFile(bytes);
    await file.sync();
  } catch (error) {
    await disk.rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/**
 * Replaces a file, or makes it, durably; readers see the old content or the new. One writer at a time: a crash leaves at most
 * `.<name>.new` beside it, which the next one writes over.
 */
export async function replaceFile(path: string, bytes: Uint8Array | string, disk: Disk = systemDisk): Promise<void> {
  const folder = dirname(path);
  const aside = join(folder, `.${basename(path)}.new`);
  await writeSynced(aside, bytes, disk);
  await disk.rename(aside, path);
  await syncName(path, disk);
}

/**
 * Makes a file durably unless there is one: of several that try, one succeeds. Gives what is there in the end. A crash may
 * leave its `tmp-<random>` beside it, which nobody needs.
 */
export async function createOnce(path: string, text: string, disk: Disk = systemDisk): Promise<string> {
  const aside = join(dirname(path), `tmp-${randomUUID()}`);
  await writeSynced(aside, text, disk);
  let there = text;
  try {
    await disk.link(aside, path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    there = (await disk.readFile(path)).toString();
  } finally {
    await disk.rm(aside, { force: true });
  }
  // Also what another one made, who may have been killed before this.
  await syncName(path, disk);
  return there;
}

/** The disk cannot do it: a bad sector, a damaged file system; one that is full, or may only be read. */
export const isDiskTrouble = (error: unknown): boolean =>
  hasCode(error, 'EIO', 'EBADMSG', 'EUCLEAN', 'ENOSPC', 'EDQUOT', 'EROFS');

/** What a call gives, or `otherwise` where the disk cannot do it: for what can wait, or is not needed to read. */
export async function unlessTrouble<T, O>(call: Promise<T>, otherwise: O): Promise<T | O> {
  try {
    return await call;
  } catch (error) {
    if (isDiskTrouble(error)) return otherwise;
    throw error;
  }
}

/** Whether a call was done; not where the disk cannot do it. */
export const isDone = (call: Promise<unknown>): Promise<boolean> =>
  unlessTrouble(
    call.then(() => true),
    false,
  );

/** What a call gives, or `gone` where its file or folder is. Any other failure says nothing of what is there, and stays one. */
export async function unlessGone<T, G>(call: Promise<T>, gone: G): Promise<T | G> {
  try {
    return await call;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return gone;
    throw error;
  }
}

/** `undefined` where there is no such file. */
export const readIfThere = (path: string, disk: Disk = systemDisk): Promise<Buffer | undefined> =>
  unlessGone(disk.readFile(path), undefined);

/** Whether the system refused something with one of these codes, as in `ENOENT`. */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

/**
 * A small record that one flipped bit must not take away: its JSON twice, a line each, each with its SHA-256 in front. What is
 * read is the first line that is whole.
 */
export function seal(value: unknown): string {
  const text = JSON.stringify(value);
  const line = `${digest('sha256', text, 'hex')} ${text}\n`;
  return line + line;
}

/**
 * The record, and whether either of its copies is damaged. Both damaged is `undefined`. The copies are equal halves, whatever a
 * flip made of the newline.
 */
export function unseal(bytes: Buffer): { value: unknown; damaged: boolean } | undefined {
  const half = bytes.length >> 1;
  const values = [bytes.subarray(0, half), bytes.subarray(half)].map(openLine);
  const whole = values.find((value) => value !== undefined);
  return whole === undefined ? undefined : { value: whole.value, damaged: values.includes(undefined) };
}

const hashLength = 64;
const [space, newline] = [0x20, 0x0a];

function openLine(line: Buffer): { value: unknown } | undefined {
  const text = line.subarray(hashLength + 1, -1);
  const framed = line.length > hashLength + 2 && line[hashLength] === space && line.at(-1) === newline;
  if (!framed || line.toString('latin1', 0, hashLength) !== digest('sha256', text, 'hex')) return undefined;
  return { value: JSON.parse(text.toString()) as unknown };
}
