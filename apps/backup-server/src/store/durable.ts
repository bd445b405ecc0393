/** Files that are there as a whole or not at all, whenever the power goes: write aside, sync, rename, sync the folder. */
import { hash as digest } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** A name in a folder survives a crash when the folder has been synced. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Writes a file and syncs it; its name is not yet durable. Leaves nothing behind where that fails. */
export async function writeSynced(path: string, bytes: Uint8Array | string): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(bytes);
    await file.sync();
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Replaces a file; readers see the old content or the new. */
export async function replaceDurably(folder: string, name: string, bytes: Uint8Array | string): Promise<void> {
  const aside = join(folder, `.${name}.new`);
  await writeSynced(aside, bytes);
  await rename(aside, join(folder, name));
  await syncFolder(folder);
}

/**
 * A small record that one flipped bit must not take away: its JSON twice, a line each, each with its SHA-256 in front. What is read is the first
 * line that is whole.
 */
export function seal(value: unknown): string {
  const text = JSON.stringify(value);
  const line = `${digest('sha256', text, 'hex')} ${text}\n`;
  return line + line;
}

/** The record, and whether either of its copies is damaged. Both damaged is `undefined`. The copies are equal halves, whatever a flip made of the newline. */
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

/** `undefined` where there is no such file. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
