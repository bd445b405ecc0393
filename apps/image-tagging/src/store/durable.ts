/** Files that are there, whole, or not at all, whatever happens to the machine. */
import { randomUUID } from 'node:crypto';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Names and removals in a folder are safe when this resolves. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What was written to a file, and its name, are safe when this resolves. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeTemporary(folder: string, text: string): Promise<string> {
  const path = join(folder, `tmp-${randomUUID()}`);
  const handle = await open(path, 'wx');
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return path;
}

/** Replaces a file; its folder is to be synced by the caller. */
export async function replaceFile(path: string, text: string): Promise<void> {
  await rename(await writeTemporary(dirname(path), text), path);
}

/** Makes a file unless there is one: of several that try, one succeeds. Gives what is there in the end. */
export async function createOnce(path: string, text: string): Promise<string> {
  const temporary = await writeTemporary(dirname(path), text);
  try {
    await link(temporary, path);
    await syncFile(path);
    return text;
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    return await readFile(path, 'utf8');
  } finally {
    await rm(temporary, { force: true });
    await syncFolder(dirname(path));
  }
}

export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
