/**
 * Who is who, by keys. There is one master key; of it comes a key for each node and each admin (`identityKey`). The server and the requesters hold the master,
 * everybody else only their own, which opens nothing of others.
 *
 * A key lies in a file of one line: whose it is (`master`, `node-NAME`, `admin-NAME`), a space, 64 hexadecimal digits.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { ExitError, exitCodes, pathError } from '@lab/process';
import { identityKey } from '@lab/protocol';
import { nodeNamePattern } from '../domain/paths.ts';

export interface Key {
  readonly identity: string;
  readonly bytes: Buffer;
}

/** Who may ask the server: with the master, `admin`. */
export const isAdmin = (identity: string): boolean => identity === 'admin' || isNamed(identity, 'admin-');
const isNamed = (identity: string, prefix: string): boolean =>
  identity.startsWith(prefix) && nodeNamePattern.test(identity.slice(prefix.length));
const isIdentity = (text: string): boolean => text === 'master' || isNamed(text, 'node-') || isNamed(text, 'admin-');

/** Reads a key; an ExitError says what is wrong with the file, and how to make one. */
export function readKey(file: string): Key {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ExitError(`the key cannot be read: ${(error as Error).message}. ${howToMake}`, exitCodes.usage, { cause: error });
  }
  const [, identity = '', hex = ''] = /^(\S+) ([0-9a-f]{64})\s*$/.exec(text) ?? [];
  if (!isIdentity(identity)) throw new ExitError(`there is no key in ${file}. ${howToMake}`, exitCodes.usage);
  return { identity, bytes: Buffer.from(hex, 'hex') };
}

const howToMake =
  '"main.ts key --output FILE" makes a master key, and with --master FILE --of NAME the key of a node or an admin';

/** The key of this identity: of the master that of anybody, else only one's own. */
export function keyFor({ identity, bytes }: Key, wanted: string): Buffer {
  if (identity === 'master') return identityKey(bytes, wanted);
  if (identity === wanted) return bytes;
  throw new ExitError(`the key is that of ${identity}; needed is that of ${wanted}, or the master key`, exitCodes.usage);
}

/** A new master key, or the key of this identity. */
export function makeKey(master?: Key, identity = 'master'): Key {
  if (!isIdentity(identity))
    throw new ExitError(`"${identity}" is nobody who has a key: node-NAME or admin-NAME`, exitCodes.usage);
  return { identity, bytes: master === undefined ? randomBytes(32) : keyFor(master, identity) };
}

export const keyText = ({ identity, bytes }: Key): string => `${identity} ${bytes.toString('hex')}\n`;

/** Only its owner may read it; a file that exists stays, and one that could not be written whole goes. */
export function writeKey(file: string, key: Key): void {
  let opened: number | undefined;
  try {
    opened = openSync(file, 'wx', 0o600);
    writeFileSync(opened, keyText(key));
  } catch (error) {
    if (opened !== undefined) rmSync(file, { force: true });
    throw pathError(error, 'the key cannot be written: ');
  } finally {
    if (opened !== undefined) closeSync(opened);
  }
}
