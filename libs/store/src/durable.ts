/**
 * Files that are there as a whole or not at all, whenever the power goes: write aside, sync, give it its name, sync the folder.
 * "Durable" is what a crash of the machine cannot take away.
 */
import { hash as digest, randomUUID } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { systemDisk, unreadableCodes, type Disk, type DiskFile } from './disk.ts';

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
export const isDiskTrouble = (error: unknown): boolean => hasCode(error, ...unreadableCodes, 'ENOSPC', 'EDQUOT', 'EROFS');

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

/** What a disk loses at once, and what most file systems give to a file at least. */
const blockBytes = 4096;

/**
 * The bytes of an open file from an offset on, up to its end. In place of each block that the disk cannot read are zeros, for
 * whoever checks what it reads to find; `onTrouble` hears of it, and may throw.
 */
export async function readAt(
  file: DiskFile,
  offset: number,
  length: number,
  onTrouble: (error: unknown) => void,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  const read = async (at: number, end: number): Promise<number> => (await file.read(bytes, at, end - at, offset + at)).bytesRead;
  let end = length;
  for (let at = 0; at < end;) {
    const block = Math.min(end, at + blockBytes - ((offset + at) % blockBytes));
    try {
      const count = (await unlessTrouble(read(at, end), undefined)) ?? (await read(at, block));
      if (count === 0) end = at;
      at += count;
    } catch (error) {
      if (!isDiskTrouble(error)) throw error;
      onTrouble(error);
      end = Math.min(end, (await file.stat()).size - offset);
      bytes.fill(0, at, block);
      at = block;
    }
  }
  return bytes.subarray(0, Math.max(0, end));
}

/** A file's bytes, as `readAt` gives them: none where all of it cannot be read; `undefined` where there is no such file. */
export async function readThrough(path: string, disk: Disk): Promise<Buffer | undefined> {
  const blocks = async (): Promise<Buffer> => {
    await using file = closing(await disk.open(path, 'r'));
    return await readAt(file, 0, (await file.stat()).size, () => {});
  };
  const bytes = await unlessTrouble(readIfThere(path, disk), 'trouble' as const);
  return bytes === 'trouble' ? unlessTrouble(unlessGone(blocks(), undefined), Buffer.alloc(0)) : bytes;
}

/** A file that is closed at the end of its scope. */
export const closing = <F extends DiskFile>(file: F): F & AsyncDisposable =>
  Object.assign(file, { [Symbol.asyncDispose]: () => file.close() });

/**
 * A small record that one bad block, or one flipped bit, must not take away: its JSON twice, with its SHA-256 in front and
 * newlines behind, each in blocks of its own. What is read is the first that is whole.
 */
export function seal(value: unknown, halfBytes = 0): Buffer {
  const text = JSON.stringify(value);
  const line = `${digest('sha256', text, 'hex')} ${text}\n`;
  const blocks = Math.ceil(Buffer.byteLength(line) / blockBytes);
  const half = Buffer.alloc(Math.max(halfBytes, blocks * blockBytes), '\n');
  half.write(line);
  return Buffer.concat([half, half]);
}

/**
 * The record, and whether its two copies are not the same. Both damaged is `undefined`. The copies are equal halves, whatever a
 * flip made of the newlines.
 */
export function unseal(bytes: Buffer): { value: unknown; damaged: boolean } | undefined {
  const half = bytes.length >> 1;
  const [one, other] = [bytes.subarray(0, half), bytes.subarray(half)];
  const whole = openLine(one) ?? openLine(other);
  return whole && { value: whole.value, damaged: !one.equals(other) };
}

/**
 * Replaces a sealed record, or makes it. On a full disk it is written over, one half after the other: one of them is whole at
 * any time.
 */
export async function replaceRecord(path: string, value: unknown, disk: Disk): Promise<void> {
  try {
    await replaceFile(path, seal(value), disk);
  } catch (error) {
    if (!hasCode(error, 'ENOSPC', 'EDQUOT') || !(await writeOver(path, value, disk))) throw error;
  }
}

/** Whether there was room. */
async function writeOver(path: string, value: unknown, disk: Disk): Promise<boolean> {
  const opened = await unlessGone(disk.open(path, 'r+'), undefined);
  if (opened === undefined) return false;
  await using file = closing(opened);
  const half = (await file.stat()).size / 2;
  const bytes = seal(value, half);
  // Before there were blocks, both halves were in one.
  if (bytes.length !== 2 * half || half % blockBytes !== 0) return false;
  for (const at of [0, half]) {
    await writeAll(file, bytes.subarray(at, at + half), at);
    await file.sync();
  }
  return true;
}

/** All bytes, however many calls that takes. */
export async function writeAll(file: DiskFile, bytes: Buffer, offset: number): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at, bytes.length - at, offset + at)).bytesWritten;
}

const hashLength = 64;
const [space, newline] = [0x20, 0x0a];

function openLine(half: Buffer): { value: unknown } | undefined {
  const end = half.findLastIndex((byte) => byte !== newline) + 1;
  const text = half.subarray(hashLength + 1, end);
  const framed = end > hashLength + 1 && half[hashLength] === space && half.at(-1) === newline;
  if (!framed || half.toString('latin1', 0, hashLength) !== digest('sha256', text, 'hex')) return undefined;
  return { value: JSON.parse(text.toString()) as unknown };
}
