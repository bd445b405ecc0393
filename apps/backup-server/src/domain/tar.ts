/**
 * The headers of a tar archive (POSIX.1-2001, "pax"): 512 bytes before each member, and before that a member of records where a
 * name or a size does not fit. Written here, since libraries take names for text: a name is whatever bytes it has.
 */
import { bytesFromName } from './file-names.ts';
import type { Entry } from './manifest.ts';

export const blockBytes = 512;
/** What fits into a header: 100 bytes of name, eleven octal digits of size. */
const nameBytesMax = 100;
const sizeMax = 8 ** 11;

const typeOf = { file: '0', link: '2', folder: '5', pax: 'x' } as const;
const ascii = new TextEncoder();

/** The header of an entry, whose content follows, padded (`padding`). Times are whole seconds. */
export function tarHeader(entry: Entry, name: string): Uint8Array {
  const member = entry.type === 'folder' ? `${name}/` : name;
  const size = entry.type === 'file' ? entry.size : 0;
  const names = [bytesFromName(member), bytesFromName(entry.type === 'link' ? entry.target : '')] as const;
  const seconds = Math.floor(entry.mtimeMs / 1000);
  const records = [
    ...(names[0].length > nameBytesMax ? [paxRecord('path', names[0])] : []),
    ...(names[1].length > nameBytesMax ? [paxRecord('linkpath', names[1])] : []),
    ...(size >= sizeMax ? [paxRecord('size', ascii.encode(String(size)))] : []),
    ...(seconds < 0 || seconds >= sizeMax ? [paxRecord('mtime', ascii.encode(String(seconds)))] : []),
  ];
  // As in restore: what runs as its owner is not made from a backup.
  const mode = entry.type === 'link' ? 0o777 : entry.mode & 0o1777;
  const header = block({ type: typeOf[entry.type], names, mode, mtimeMs: entry.mtimeMs, size: size >= sizeMax ? 0 : size });
  if (records.length === 0) return header;
  const body = joined(records);
  const pax = block({
    type: typeOf.pax,
    names: [ascii.encode('pax'), new Uint8Array()],
    mode: 0o644,
    mtimeMs: 0,
    size: body.length,
  });
  return joined([pax, body, padding(body.length), header]);
}

const zeros = new Uint8Array(blockBytes);

/** Zeros up to the next block. */
export const padding = (bytes: number): Uint8Array => zeros.subarray(0, (blockBytes - (bytes % blockBytes)) % blockBytes);

/** Two blocks of zeros end an archive. */
export const tarEnd = new Uint8Array(2 * blockBytes);

interface Block {
  type: string;
  names: readonly [name: Uint8Array, target: Uint8Array];
  mode: number;
  mtimeMs: number;
  size: number;
}

function block({ type, names, mode, mtimeMs, size }: Block): Uint8Array {
  const header = new Uint8Array(blockBytes);
  const put = (at: number, bytes: Uint8Array): void => header.set(bytes, at);
  const octal = (at: number, digits: number, value: number): void =>
    put(at, ascii.encode(`${Math.max(0, Math.floor(value)).toString(8).padStart(digits, '0').slice(-digits)}\0`));
  put(0, names[0].subarray(0, nameBytesMax));
  octal(100, 7, mode);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, size);
  octal(136, 11, mtimeMs / 1000);
  put(148, ascii.encode('        '));
  put(156, ascii.encode(type));
  put(157, names[1].subarray(0, nameBytesMax));
  put(257, ascii.encode('ustar\x0000'));
  octal(
    148,
    6,
    header.reduce((sum, byte) => sum + byte, 0),
  );
  put(155, ascii.encode(' '));
  return header;
}

/** `<length> <keyword>=<value>\n`, where the length counts its own digits. */
function paxRecord(keyword: string, value: Uint8Array): Uint8Array {
  const rest = keyword.length + value.length + 3;
  let length = rest + String(rest).length;
  length = rest + String(length).length;
  return joined([ascii.encode(`${length} ${keyword}=`), value, ascii.encode('\n')]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
