/**
 * What the first bytes of a file say about the picture in it, without decoding it: enough to refuse at upload what no worker could tag.
 *
 * Pure, and own parsers on purpose: a server should not hand hostile bytes to native decoders, and those cannot say of the head of a file whether
 * it is damaged or only short (libwebp reads no header before the whole file is there).
 */

export type FormatName = 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'avif';

export interface PictureFormat {
  readonly name: FormatName;
  readonly mediaType: string;
  /** Without a dot. */
  readonly extension: string;
}

export const pictureFormats: Readonly<Record<FormatName, PictureFormat>> = {
  jpeg: { name: 'jpeg', mediaType: 'image/jpeg', extension: 'jpg' },
  png: { name: 'png', mediaType: 'image/png', extension: 'png' },
  webp: { name: 'webp', mediaType: 'image/webp', extension: 'webp' },
  gif: { name: 'gif', mediaType: 'image/gif', extension: 'gif' },
  tiff: { name: 'tiff', mediaType: 'image/tiff', extension: 'tiff' },
  avif: { name: 'avif', mediaType: 'image/avif', extension: 'avif' },
};

/** In pixels, as stored: before an orientation note turns it. Of an animation one frame. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** `size` is undefined where the head does not reach the header: see `inspect`. The reason is a sentence for people. */
export type Inspection = { ok: true; format: PictureFormat; size: Size | undefined } | { ok: false; reason: string };

/** A decoded pixel has 4 bytes, or 8 where its samples have 16 bits: 400 MB, or 800. Above it are bombs, and a handful of panoramas. */
export const defaultPixelsMax = 100_000_000;

/** How much of a file to show to `inspect`: the header of almost every picture, behind its EXIF and its colour profile too. */
export const headBytes = 64 * 1024;

/**
 * Says whether a worker might tag the file that begins with `head` and has `sizeBytes` bytes. Refused is what is no picture of a known format,
 * has a damaged header, or more than `pixelsMax` pixels.
 *
 * The header may lie beyond the head: a TIFF's often comes last, and a JPEG may have megabytes of other segments in front. Such a file is
 * accepted with an unknown size, for whoever decodes it has to keep the limit anyway. If `head` is the whole file, it is truncated, and refused.
 */
export function inspect(head: Uint8Array, sizeBytes: number, pixelsMax = defaultPixelsMax): Inspection {
  if (sizeBytes === 0) return { ok: false, reason: 'The file is empty.' };
  const format = formatOf(head);
  if (format === undefined) return { ok: false, reason: notAPicture };
  const size = headerSize(head, format.name);
  if (size === 'damaged') return { ok: false, reason: `The header of this ${format.name.toUpperCase()} picture is damaged.` };
  if (size !== 'beyond') {
    const reason = tooLarge(size, pixelsMax);
    return reason === undefined ? { ok: true, format, size } : { ok: false, reason };
  }
  const whole = head.length >= sizeBytes;
  return whole
    ? { ok: false, reason: `This ${format.name.toUpperCase()} picture ends within its header.` }
    : { ok: true, format, size: undefined };
}

export const notAPicture = 'This is not a JPEG, PNG, WebP, GIF, TIFF or AVIF picture.';

/** Why a picture of so many pixels is refused, or `undefined`. The frames of an animation are decoded together, and count together. */
export function tooLarge({ width, height }: Size, pixelsMax: number, frames = 1): string | undefined {
  if (width * height * frames <= pixelsMax) return undefined;
  const times = frames === 1 ? '' : `${frames} frames of `;
  return `The picture has ${times}${width} x ${height} pixels; ${(pixelsMax / 1e6).toLocaleString('en')} megapixels is the limit.`;
}

/** By the signature; the name of the file and what its sender calls it do not matter. `head` needs 32 bytes, except of the shortest files. */
export function formatOf(head: Uint8Array): PictureFormat | undefined {
  const text = String.fromCharCode(...head.subarray(0, 32));
  if (text.startsWith('\xff\xd8\xff')) return pictureFormats.jpeg;
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return pictureFormats.png;
  if (/^RIFF[^]{4}WEBP/.test(text)) return pictureFormats.webp;
  if (/^GIF8[79]a/.test(text)) return pictureFormats.gif;
  if (text.startsWith('II*\0') || text.startsWith('MM\0*')) return pictureFormats.tiff;
  // A sequence has the major brand `avis`: a film, whose frames the encoder at hand cannot write.
  if (/^[^]{4}ftyp(avif|mi(f1|af)[^]{4}([^]{4})*avif)/.test(text)) return pictureFormats.avif;
  return undefined;
}

type Found = Size | 'damaged' | 'beyond';

/** A DataView does not read beyond its end but throws a RangeError: the parsers need no length checks, and no byte is read unchecked. */
function headerSize(head: Uint8Array, name: FormatName): Found {
  try {
    const size = parsers[name](new DataView(head.buffer, head.byteOffset, head.byteLength));
    return size === undefined || size.width === 0 || size.height === 0 ? 'damaged' : size;
  } catch (error) {
    if (error instanceof RangeError) return 'beyond';
    throw error;
  }
}

/** Each gives `undefined` for a damaged header, and throws a RangeError where it would have to read on. */
const parsers: Record<FormatName, (view: DataView) => Size | undefined> = {
  jpeg: jpegSize,
  png: pngSize,
  webp: webpSize,
  gif: (view) => ({ width: view.getUint16(6, true), height: view.getUint16(8, true) }),
  tiff: tiffSize,
  avif: avifSize,
};

/** Segments up to the frame header (SOF), ITU T.81 B.1: marker, length, content. */
function jpegSize(view: DataView): Size | undefined {
  let at = 2;
  while (view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1; // fill byte
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    const isScanOrEnd = marker === 0xda || marker === 0xd9;
    const length = view.getUint16(at + 2);
    if (isScanOrEnd || length < 2) return undefined;
    at += 2 + length;
  }
  return undefined;
}

/** IHDR is the first chunk, and of 13 bytes. */
function pngSize(view: DataView): Size | undefined {
  if (view.getUint32(8) !== 13 || fourLetters(view, 12) !== 'IHDR') return undefined;
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/** The first chunk is a lossy frame, a lossless frame, or the header of everything with more to it. */
function webpSize(view: DataView): Size | undefined {
  switch (fourLetters(view, 12)) {
    case 'VP8 ': {
      const startCode = (view.getUint8(23) << 16) | view.getUint16(24);
      return startCode === 0x9d012a
        ? { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff }
        : undefined;
    }
    case 'VP8L': {
      const bits = view.getUint32(21, true);
      return view.getUint8(20) === 0x2f ? { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 } : undefined;
    }
    case 'VP8X':
      return { width: (view.getUint32(24, true) & 0xffffff) + 1, height: (view.getUint32(26, true) >>> 8) + 1 };
    default:
      return undefined;
  }
}

/** The first chunk with pixels is lossless. Those of an animation have the pixels inside, and are not looked into. */
export function isLosslessWebp(webp: Uint8Array): boolean {
  const view = new DataView(webp.buffer, webp.byteOffset, webp.byteLength);
  for (let at = 12; at + 8 <= webp.length;) {
    const type = fourLetters(view, at);
    if (type === 'VP8L' || type === 'VP8 ' || type === 'ANMF') return type === 'VP8L';
    const length = view.getUint32(at + 4, true);
    at += 8 + length + (length % 2);
  }
  return false;
}

/** Tags 256 and 257 of the first directory, each of 16 or 32 bits. */
function tiffSize(view: DataView): Size | undefined {
  const little = view.getUint8(0) === 0x49;
  const directory = view.getUint32(4, little);
  const entries = view.getUint16(directory, little);
  const size = { width: 0, height: 0 };
  for (let entry = directory + 2; entry < directory + 2 + entries * 12; entry += 12) {
    const tag = view.getUint16(entry, little);
    const value = view.getUint16(entry + 2, little) === 3 ? view.getUint16(entry + 8, little) : view.getUint32(entry + 8, little);
    if (tag === 256) size.width = value;
    if (tag === 257) size.height = value;
  }
  return size;
}

/** The largest of the sizes in meta/iprp/ipco: the picture's own, for the others belong to its tiles, its alpha plane or its thumbnail. */
function avifSize(view: DataView): Size | undefined {
  const fullBoxHeader = 4;
  const meta = findBox(view, 'meta', 0, Infinity);
  const properties = meta && findBox(view, 'iprp', meta.start + fullBoxHeader, meta.end);
  const container = properties && findBox(view, 'ipco', properties.start, properties.end);
  if (container === undefined) return undefined;
  let largest = { width: 0, height: 0 };
  for (const { type, start } of boxes(view, container.start, container.end)) {
    if (type !== 'ispe') continue;
    const size = { width: view.getUint32(start + fullBoxHeader), height: view.getUint32(start + fullBoxHeader + 4) };
    if (size.width * size.height > largest.width * largest.height) largest = size;
  }
  return largest;
}

function findBox(view: DataView, type: string, from: number, to: number): Box | undefined {
  for (const box of boxes(view, from, to)) if (box.type === type) return box;
  return undefined;
}

interface Box {
  type: string;
  /** Of its content. */
  start: number;
  end: number;
}

/** ISO 14496-12, 4.2: size and type, 32 bits each; size 1 means that 64 bits follow, 0 that the box goes on to the end of the file. */
function* boxes(view: DataView, from: number, to: number): Generator<Box, undefined> {
  for (let at = from; at < to;) {
    const short = view.getUint32(at);
    const size = short === 1 ? Number(view.getBigUint64(at + 8)) : short === 0 ? Infinity : short;
    const start = at + (short === 1 ? 16 : 8);
    if (at + size < start) return;
    yield { type: fourLetters(view, at + 4), start, end: at + size };
    at += size;
  }
}

function fourLetters(view: DataView, at: number): string {
  return String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3));
}

/** Of the format's usual files, without a dot. */
export const extensionOf = (mediaType: string): string =>
  Object.values(pictureFormats).find((format) => format.mediaType === mediaType)?.extension ?? 'bin';
