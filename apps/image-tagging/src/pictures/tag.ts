/**
 * Marks a picture with keywords: a caption that people see, and metadata that programs read.
 *
 * | | frames or pages | XMP | EXIF | encoded |
 * |---|---|---|---|---|
 * | jpeg | 1 | yes | yes | quality 90, chroma as dense as before or denser, never progressive |
 * | png | 1 (an APNG's default picture) | yes | yes | lossless, 16 bits stay 16, a palette becomes full colour |
 * | webp | all | yes | yes | lossless if it was (but not in animations), else quality 90 |
 * | gif | all | yes, in place of its own | none exists | up to 256 colours, chosen anew because of the caption |
 * | tiff | all, if of one size | yes | no: libvips writes none | lossless (deflate) |
 * | avif | 1 | yes | yes | quality 65 of 8 bits |
 *
 * Every frame gets the caption, and delays and loops stay. The colour profile, the EXIF and the rest of the metadata are kept; grey stays grey and CMYK
 * stays CMYK. Floating-point and Lab TIFFs become sRGB.
 */
import { readFile, writeFile } from 'node:fs/promises';
import sharp, { type Metadata, type Sharp } from 'sharp';
import { captionBand, type Band } from './caption.ts';
import { exifFields, unlinkPreview } from './exif.ts';
import { defaultPixelsMax, formatOf, isLosslessWebp, notAPicture, tooLarge, type PictureFormat, type Size } from './inspect.ts';
import { cleanKeywords } from './keywords.ts';
import { gifWithXmp, xmpPacket } from './xmp.ts';

/** The picture is at fault: to try again is of no use. */
export class PictureError extends Error {
  /** A sentence for whoever uploaded the picture. */
  readonly reason: string;

  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options);
    this.name = 'PictureError';
    this.reason = reason;
  }
}

export interface TagRequest {
  /** A file. Its name does not matter. */
  input: string;
  /** A file that is written, or overwritten; to sync and to rename it is up to the caller. After an error it may be there in part. */
  output: string;
  /** 100 of 100 characters at the most are sure to fit. What cannot be shown is left out: see `cleanKeywords`. */
  keywords: readonly string[];
  /** Of all frames together. */
  limitPixels?: number;
}

export interface TaggedPicture extends Size {
  format: PictureFormat;
  bytes: number;
  /** Of the output, in hexadecimal. */
  sha256: string;
}

/**
 * Decodes the whole picture, turns it upright as its EXIF says (not an animation, which libvips cannot turn), tags it, and writes it in the format
 * it had. Width and height are those of a frame of the output. A truncated picture is an error, and a damaged one as far as its format can tell:
 * JPEG and WebP have no checksums, and a flipped bit in them mostly is another picture.
 *
 * What is wrong with the picture is a PictureError. Everything else, from a file that is not there to a full disk and too little memory, is
 * thrown as it comes: the picture may be good.
 *
 * Both files are in memory, with one read and one write each: that is what network file systems are good at, and a read that fails is told from a
 * picture that ends early. Most pictures are decoded, marked and encoded in stripes, which takes a byte or two a pixel. A
 * progressive JPEG that has to be turned takes the most, 1 GB for 100 megapixels: libjpeg holds its coefficients, 6 bytes a pixel, and the turning
 * its pixels.
 */
export async function tagPicture({
  input,
  output,
  keywords,
  limitPixels = defaultPixelsMax,
}: TagRequest): Promise<TaggedPicture> {
  const original = await readFile(input);
  const format = formatOf(original);
  if (format === undefined) throw new PictureError(notAPicture);
  const { data, width, height } = await tagged(original, format, cleanKeywords(keywords), limitPixels);
  // Not `createHash`, which would hold up everything else in the process for as long as a large picture takes.
  const [sha256] = await Promise.all([crypto.subtle.digest('SHA-256', data), writeFile(output, data)]);
  return { format, width, height, bytes: data.length, sha256: Buffer.from(sha256).toString('hex') };
}

async function tagged(
  original: Buffer,
  format: PictureFormat,
  keywords: string[],
  limitPixels: number,
): Promise<Size & { data: Buffer }> {
  if (format.name === 'jpeg') unlinkPreview(original);
  const image = sharp(original, {
    // Any complaint of a decoder: to libjpeg even lost data is no more than a warning. The price are the few files that it warns of without need.
    failOn: 'warning',
    limitInputPixels: false, // `framesOf` checks, and says more
    animated: format.name === 'gif' || format.name === 'webp' || format.name === 'tiff',
  });
  const header = await decoding(format, image.metadata());
  const { frame, frames } = framesOf(header, limitPixels);
  const packet = xmpPacket(keywords, header.xmp);
  const band = await captionBand(keywords, frame);
  if (frames === 1) image.autoOrient();
  keepColours(image, header, format);
  if (band !== undefined) drawBand(image, header, band, frame, frames);
  image.withXmp(packet).withExifMerge({ IFD0: exifFields(keywords, header.exif?.length ?? 0) });
  const data = await decoding(format, encoded(image, header, format, original).toBuffer());
  return { data: format.name === 'gif' ? gifWithXmp(data, packet) : data, ...frame };
}

/** However small a frame is, libvips needs 50 KB for its caption. */
const framesMax = 5_000;

/** The frames that are going to be decoded, upright. The limit is checked here, before anything is decoded. */
function framesOf(header: Metadata, limitPixels: number): { frame: Size; frames: number } {
  const frames = header.pageHeight === undefined ? 1 : Math.round(header.height / header.pageHeight);
  const frame = frames === 1 ? header.autoOrient : { width: header.width, height: header.height / frames };
  const reason = tooLarge(frame, limitPixels, frames);
  if (reason !== undefined) throw new PictureError(reason);
  if (frames > framesMax) throw new PictureError(`The picture has ${frames} frames; ${framesMax} is the limit.`);
  if (header.subifds)
    throw new PictureError('The TIFF has pictures within the picture, as the raw files of cameras do; please export it first.');
  return { frame, frames };
}

/** Without these sharp makes everything sRGB of 8 bits. A profile is of use only with the colours that it describes. */
function keepColours(image: Sharp, header: Metadata, format: PictureFormat): void {
  const kept = keptSpaces.has(header.space);
  if (kept) image.keepMetadata();
  const space = kept && format.name !== 'avif' ? header.space : 'srgb';
  image.pipelineColourspace(space).toColourspace(space);
}

const keptSpaces: ReadonlySet<string> = new Set(['srgb', 'rgb16', 'b-w', 'grey16', 'cmyk']);

function drawBand(image: Sharp, header: Metadata, band: Band, frame: Size, frames: number): void {
  const { data: input, ...size } = band;
  const raw = { ...size, channels: 4 as const };
  const bands = Array.from({ length: frames }, (_, index) => ({
    input,
    raw,
    left: 0,
    top: (index + 1) * frame.height - size.height,
  }));
  image.composite(bands);
  if (!header.hasAlpha) image.removeAlpha();
}

function encoded(image: Sharp, header: Metadata, format: PictureFormat, original: Buffer): Sharp {
  switch (format.name) {
    case 'jpeg': {
      const chromaSubsampling = header.chromaSubsampling === '4:2:0' ? '4:2:0' : '4:4:4';
      // Progressive ones, and the best Huffman tables, take all coefficients of the picture at once: 6 bytes a pixel more, and half as long again.
      return image.jpeg({ quality: 90, chromaSubsampling, optimiseCoding: false });
    }
    case 'png':
      return image.png();
    case 'webp':
      return image.webp(isLosslessWebp(original) ? { lossless: true } : { quality: 90 });
    case 'gif':
      return image.gif({ keepDuplicateFrames: true });
    case 'tiff': {
      const perMillimetre = header.density === undefined ? 1 : header.density / 25.4;
      return image.tiff({ compression: 'deflate', predictor: 'horizontal', xres: perMillimetre, yres: perMillimetre });
    }
    case 'avif':
      return image.avif({ quality: 65 });
  }
}

/** What libvips says of a picture becomes a PictureError, unless it is about this machine. */
async function decoding<T>(format: PictureFormat, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Error) || /out of memory|unable to create thread/i.test(error.message)) throw error;
    const last = error.message.trim().split('\n').at(-1)!;
    throw new PictureError(`The ${format.name.toUpperCase()} picture is damaged or incomplete (${last}).`, { cause: error });
  }
}
