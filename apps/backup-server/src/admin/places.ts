/** Where a name in a manifest is in a folder here, for calls of the file system: bytes where it is not text. */
import { bytesFromName, isText } from '../domain/file-names.ts';

export function placeOf(folder: string, path: string): string | Buffer {
  const place = path === '' ? folder : `${folder}/${path}`;
  return isText(place) ? place : Buffer.from(bytesFromName(place));
}
