/**
 * The file system as the store needs it: Node's own calls, by their names, so that something can stand in between. What the
 * store relies on:
 *
 * - `sync` of a file's handle resolves when its bytes are durable; of a folder's handle, when its names are;
 * - `rename` replaces what had the name, and readers see one of the two, whole; `link` never replaces, and rejects with `EEXIST`;
 * - what a process has written is there for others at once, and stays when the process dies.
 */
import * as node from 'node:fs/promises';

export type Disk = Pick<typeof node, 'link' | 'mkdir' | 'open' | 'readdir' | 'readFile' | 'rename' | 'rm' | 'stat' | 'writeFile'>;

export const systemDisk: Disk = node;
