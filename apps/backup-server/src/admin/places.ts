import { bytesFromName, isText } from '../domain/file-names.ts';

/** Of a mode, what is restored: a program that runs as its file's owner is not made from a backup. */
export const modeBits = 0o1777;

/** Where a name in a manifest is in a folder here, for calls of the file system: bytes where it is not text. */
export function placeOf(folder: string, path: string): string | Buffer {
  const place = path === '' ? folder : `${folder}/${path}`;
  return isText(place) ? place : Buffer.from(bytesFromName(place));
}
