import exifr from 'exifr';
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Metadata, type Sharp } from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { formatOf, pictureFormats, type FormatName } from './inspect.ts';
import { makePicture } from '../../data/make.ts';
import { PictureError, tagPicture, type TaggedPicture } from './tag.ts';

const names = Object.keys(pictureFormats) as FormatName[];
const animatable: readonly FormatName[] = ['gif', 'webp', 'tiff'];
const folder = await mkdtemp(join(tmpdir(), 'tag-'));
afterAll(() => rm(folder, { recursive: true }));

const size = { width: 160, height: 120 };
const base = await makePicture({ seed: 3, ...size, format: 'png' });
const plain = (): Sharp => sharp(base);
const keywords = ['harbour', 'Reykjavík', 'ночь'];

let files = 0;
/** Tags bytes by way of files. */
async function tag(bytes: Uint8Array, words = keywords, limitPixels?: number): Promise<{ result: TaggedPicture; bytes: Buffer }> {
  const input = join(folder, `${++files}.in`);
  const output = join(folder, `${files}.out`);
  await writeFile(input, bytes);
  const result = await tagPicture({ input, output, keywords: words, ...(limitPixels !== undefined && { limitPixels }) });
  return { result, bytes: await readFile(output) };
}

const refusal = (bytes: Uint8Array): Promise<string> =>
  tag(bytes).then(
    () => 'tagged',
    (error: unknown) => (error instanceof PictureError ? error.reason : `not a PictureError: ${String(error)}`),
  );

const headerOf = (bytes: Buffer): Promise<Metadata> =>
  sharp(bytes, { animated: animatable.includes(formatOf(bytes)!.name) }).metadata();

/** Decoded samples of some rows, without any conversion. */
async function rows(bytes: Buffer, top: number, height: number): Promise<Uint8Array | Uint16Array> {
  const { space, depth, width } = await headerOf(bytes);
  const { data } = await sharp(bytes, { animated: true, autoOrient: false })
    .keepIccProfile()
    .pipelineColourspace(space)
    .toColourspace(space)
    .raw({ depth: depth === 'ushort' ? 'ushort' : 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const samples = depth === 'ushort' ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2) : data;
  const perRow = samples.length / (await headerOf(bytes)).height;
  expect(perRow % width).toBe(0);
  return samples.subarray(top * perRow, (top + height) * perRow);
}

function farthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let index = 0; index < a.length; index++) most = Math.max(most, Math.abs(a[index]! - b[index]!));
  return most;
}

/** What a photo program reads. exifr knows neither the XMP of all formats nor GIF: sharp, or the extension's own rules, get the blocks out, exifr reads them. */
async function read(bytes: Buffer): Promise<Record<string, unknown>> {
  const { xmp, exif } = await headerOf(bytes);
  const packet = xmp ?? gifPacket(bytes);
  const carrier = packet && (await plain().jpeg().withXmp(packet.toString()).toBuffer());
  const fromXmp: unknown = carrier && (await exifr.parse(carrier, { xmp: true, mergeOutput: true }));
  const isMarked = exif?.toString('latin1', 0, 4) === 'Exif';
  const fromExif: unknown = exif && (await exifr.parse(exif.subarray(isMarked ? 6 : 0)));
  return { ...(fromXmp as object), ...(fromExif as object) };
}

function gifPacket(bytes: Buffer): Buffer | undefined {
  const marker = '\x21\xff\x0bXMP DataXMP';
  const start = bytes.indexOf(marker, 0, 'latin1');
  return start < 0 ? undefined : bytes.subarray(start + marker.length, bytes.length - 259);
}

describe.each(names)('a tagged %s', (name) => {
  const encode = (): Sharp => plain().toFormat(name, name === 'tiff' ? { compression: 'deflate' } : {});

  it('has its keywords where programs look for them, its format and its size, and the bytes that were announced', async () => {
    const { result, bytes } = await tag(await encode().toBuffer());
    expect(result).toEqual({
      format: pictureFormats[name],
      ...size,
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    });
    expect(formatOf(bytes)).toBe(pictureFormats[name]);
    expect(await headerOf(bytes)).toMatchObject(size);
    const found = await read(bytes);
    expect(found.subject).toEqual(keywords);
    if (name !== 'gif' && name !== 'tiff') {
      expect(found).toMatchObject({ XPKeywords: keywords.join(';'), ImageDescription: 'harbour, Reykjavik, ????' });
    }
  });

  it('has a caption below, and above it the picture', async () => {
    const original = await encode().toBuffer();
    const { bytes } = await tag(original);
    const top = [0, size.height - 40] as const;
    const bottom = [size.height - 16, 16] as const;
    const loss = { jpeg: 40, webp: 60, gif: 130, avif: 60, png: 0, tiff: 0 }[name];
    expect(farthest(await rows(bytes, ...top), await rows(original, ...top))).toBeLessThanOrEqual(loss);
    const { channels } = await sharp(bytes).stats();
    expect(channels.length).toBe((await headerOf(original)).channels);
    const band = await sharp(bytes).extract({ left: 0, top: bottom[0], width: size.width, height: bottom[1] }).toBuffer();
    const { min, max, mean } = (await sharp(band).greyscale().stats()).channels[0]!;
    expect(max).toBeGreaterThan(180);
    expect(min).toBeLessThan(80);
    expect(mean).toBeLessThan(140);
    expect(farthest(await rows(bytes, ...bottom), await rows(original, ...bottom))).toBeGreaterThan(80);
  });

  it('that ends early is refused', async () => {
    const whole = await encode().toBuffer();
    for (const part of [0.005, 0.1, 0.5, 0.9, 0.98]) {
      expect(await refusal(whole.subarray(0, Math.ceil(whole.length * part)))).toMatch(
        /^The \w+ picture is damaged|^This is not a/,
      );
    }
  });

  it('with a flipped byte is refused or tagged, and nothing else', async () => {
    const whole = await encode().toBuffer();
    for (let flip = 0; flip < 12; flip++) {
      const at = Math.floor((whole.length * (flip + 0.5)) / 12);
      const flipped = Buffer.from(whole);
      flipped[at] = flipped[at]! ^ 0xff;
      expect(await refusal(flipped)).toMatch(/^The \w+ picture is damaged|^tagged$/);
    }
  });

  it('over the limit is refused, and one at the limit is not', async () => {
    const bytes = await encode().toBuffer();
    await expect(tag(bytes, keywords, 160 * 120)).resolves.toBeDefined();
    await expect(tag(bytes, keywords, 160 * 120 - 1)).rejects.toThrow(
      /^The picture has 160 x 120 pixels; 0.019 megapixels is the limit\.$/,
    );
  });

  it.each([
    [1, 1],
    [1, 5000],
    [5000, 1],
    [64, 48],
    [63, 48],
    [800, 48],
  ])('may have %d x %d pixels', async (width, height) => {
    const { result, bytes } = await tag(await makePicture({ seed: 1, width, height, format: name }));
    expect(result).toMatchObject({ width, height });
    expect((await read(bytes)).subject).toEqual(keywords);
  });
});

describe('the caption', () => {
  it('is readable on any size: letters grow with the picture', async () => {
    for (const width of [64, 300, 1000, 9000]) {
      const picture = await sharp({ create: { width, height: 300, channels: 3, background: '#fff' } })
        .png({ compressionLevel: 1 })
        .toBuffer();
      const { bytes } = await tag(picture);
      const { data, info } = await sharp(bytes).greyscale().raw().toBuffer({ resolveWithObject: true });
      let bandRows = 0;
      for (let y = 0; y < info.height; y++) if (data[y * width]! < 200) bandRows++;
      const expected = Math.max(9, Math.min((width * 0.94) / 32, 300 / 8)) * 1.8;
      expect(Math.abs(bandRows - expected)).toBeLessThan(2.5);
    }
  });

  it.each([
    ['too many', Array.from({ length: 100 }, (_, index) => `keyword ${index} `.padEnd(100, 'x'))],
    ['wide', ['W'.repeat(100), '﷽'.repeat(100)]],
    ['narrow', ['i'.repeat(100), 'l'.repeat(100)]],
    ['markup', ['</x:xmpmeta>', ']]>', '<span foreground="red">', '&amp;', '</span>']],
    ['in all scripts', ['עברית', 'العربية', '漢字', '👨‍👩‍👧‍👦', 'हिन्दी', '\u202Eevil']],
    ['towers of accents', [`Z${'\u0336\u0310\u0321'.repeat(30)}`]],
    ['control characters', ['a\0b', 'line\nbreak', '\u2029']],
  ])('may be of keywords that are %s', async (_, words) => {
    const { bytes } = await tag(await plain().jpeg().toBuffer(), words);
    const clean = words.map((word) => word.replace(/[\0\n\u2029]/g, ' ').trim()).filter((word) => word !== '');
    expect([(await read(bytes)).subject].flat()).toHaveLength(clean.length);
    expect(await headerOf(bytes)).toMatchObject(size);
  });

  it('is left out if there is nothing to see', async () => {
    for (const words of [[], ['\u200B'], ['\u2800']]) {
      const { bytes } = await tag(base, words);
      expect(farthest(await rows(bytes, 0, 120), await rows(base, 0, 120))).toBe(0);
    }
  });
});

const deep = await plain().toColourspace('rgb16').png().toBuffer();

describe('a picture keeps', () => {
  it.each([
    ['an alpha channel', plain().ensureAlpha(0.5).png(), 0],
    ['an alpha channel of 16 bits', sharp(deep).ensureAlpha(0.5).toColourspace('rgb16').png(), 0],
    ['16 bits', sharp(deep).pipelineColourspace('rgb16').linear(0.7, 13).toColourspace('rgb16').png(), 0],
    ['16 bits of grey', plain().pipelineColourspace('grey16').toColourspace('grey16').png(), 0],
    ['grey', plain().toColourspace('b-w').png(), 0],
    ['grey in a JPEG', plain().toColourspace('b-w').jpeg(), 30],
    ['grey in a TIFF of one bit', plain().toColourspace('b-w').tiff({ bitdepth: 1, compression: 'none', predictor: 'none' }), 0],
    ['CMYK', plain().toColourspace('cmyk').jpeg({ chromaSubsampling: '4:4:4' }), 40],
    ['CMYK in a TIFF', plain().toColourspace('cmyk').tiff({ compression: 'lzw' }), 0],
    ['the colours of a palette', plain().png({ palette: true, colours: 8 }), 0],
    ['another colour space', plain().withIccProfile('p3').png(), 0],
    ['every bit of a lossless WebP', plain().webp({ lossless: true }), 0],
    ['dense chroma', plain().jpeg({ chromaSubsampling: '4:4:4' }), 40],
    ['thin chroma', plain().jpeg({ progressive: true, chromaSubsampling: '4:2:0' }), 40],
  ])('%s', async (_, encoding, loss) => {
    const original = await encoding.toBuffer();
    const { bytes } = await tag(original);
    const [before, after] = [await headerOf(original), await headerOf(bytes)];
    const kept = ({ space, depth, channels, hasAlpha, chromaSubsampling }: Metadata): unknown => ({
      space,
      depth,
      channels,
      hasAlpha,
      chromaSubsampling,
    });
    expect(kept(after)).toEqual(kept(before));
    if (before.icc) expect(after.icc).toEqual(before.icc);
    expect(farthest(await rows(bytes, 0, 80), await rows(original, 0, 80))).toBeLessThanOrEqual(loss);
    expect(farthest(await rows(bytes, 104, 16), await rows(original, 104, 16))).toBeGreaterThan(50);
  });

  it('its resolution, its EXIF and its XMP', async () => {
    for (const name of ['jpeg', 'tiff', 'png'] as const) {
      const exif = { IFD0: { Artist: 'Ada', Copyright: 'Ada 2020' }, IFD2: { ExposureTime: '1/50' } };
      const xmp = (await tag(await plain().jpeg().toBuffer(), ['old'])).bytes;
      const packet = (await headerOf(xmp)).xmpAsString!;
      const original = await plain()
        .toFormat(name, name === 'tiff' ? { xres: 300 / 25.4, yres: 300 / 25.4 } : {})
        .withMetadata({ density: 300 })
        .withExifMerge(exif)
        .withXmp(packet)
        .toBuffer();
      const { bytes } = await tag(original, ['new']);
      expect(Math.round((await headerOf(bytes)).density!)).toBe(300);
      const found = await read(bytes);
      expect(found.subject).toEqual(['old', 'new']);
      if (name !== 'tiff')
        expect(found).toMatchObject({ Artist: 'Ada', Copyright: 'Ada 2020', ExposureTime: 0.02, XPKeywords: 'new' });
    }
  });

  it('its EXIF even where that leaves no room for keywords', async () => {
    const original = await plain()
      .jpeg()
      .withExif({ IFD0: { Artist: 'A'.repeat(60_000) } })
      .toBuffer();
    const found = await read((await tag(original)).bytes);
    expect(found).toMatchObject({ Artist: 'A'.repeat(60_000), subject: keywords });
    expect(found).not.toHaveProperty('XPKeywords');
  });

  it('a keyword that looks like a note of the library', async () => {
    const found = await read((await tag(await plain().jpeg().toBuffer(), ['pier (a, b, c, d)'])).bytes);
    expect(found).toMatchObject({
      XPKeywords: 'pier (a, b, c, d)',
      ImageDescription: 'pier (a, b, c, d)',
      subject: 'pier (a, b, c, d)',
    });
  });

  it('nothing of a preview, which would show it untagged', async () => {
    const jpeg = await plain().jpeg().toBuffer();
    const preview = await plain().resize(20).jpeg().toBuffer();
    const original = jpegWithPreview(jpeg, preview);
    expect(Buffer.from((await exifr.thumbnail(original))!)).toEqual(preview);
    const { result, bytes } = await tag(original);
    expect(result).toMatchObject({ width: 120, height: 160 });
    expect(await exifr.thumbnail(bytes)).toBeUndefined();
  });
});

/** EXIF with an orientation (6: turn it right) in its first directory and a preview in its second. */
function jpegWithPreview(jpeg: Buffer, preview: Buffer): Buffer {
  const exif = Buffer.alloc(68);
  const entry = (at: number, tag: number, type: number, value: number): void => {
    exif.writeUInt16LE(tag, at);
    exif.writeUInt16LE(type, at + 2);
    exif.writeUInt32LE(1, at + 4);
    exif.writeUInt32LE(value, at + 8);
  };
  exif.write('II*\0\x08\0\0\0\x01\0', 'latin1');
  entry(10, 0x112, 3, 6);
  exif.writeUInt32LE(26, 22);
  exif.writeUInt16LE(3, 26);
  entry(28, 0x103, 3, 6);
  entry(40, 0x201, 4, exif.length);
  entry(52, 0x202, 4, preview.length);
  const segment = Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exif, preview]);
  const header = Buffer.from([0xff, 0xe1, 0, 0]);
  header.writeUInt16BE(segment.length + 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), header, segment, jpeg.subarray(2)]);
}

describe('orientation', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('%d is applied, and the caption is at the bottom of what people see', async (orientation) => {
    const original = await plain().jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).withMetadata({ orientation }).toBuffer();
    const { result, bytes } = await tag(original);
    const upright = orientation <= 4 ? size : { width: size.height, height: size.width };
    expect(result).toMatchObject(upright);
    const header = await headerOf(bytes);
    expect(header).toMatchObject(upright);
    expect(header.orientation ?? 1).toBe(1);
    const expected = await sharp(original).autoOrient().raw().toBuffer();
    const found = await sharp(bytes).raw().toBuffer();
    const above = upright.width * (upright.height - 20) * 3;
    expect(farthest(found.subarray(0, above), expected.subarray(0, above))).toBeLessThan(80);
  });
});

describe('an animation', async () => {
  const frame = (background: string): Promise<Buffer> =>
    sharp({ create: { ...size, channels: 3, background } })
      .png()
      .toBuffer();
  const frames = await Promise.all(['#a00', '#0a0', '#00a'].map(frame));
  const animation = (name: 'gif' | 'webp'): Promise<Buffer> =>
    sharp(frames, { join: { animated: true } })
      .toFormat(name, { delay: [100, 200, 300], loop: 3 })
      .toBuffer();

  it.each(['gif', 'webp'] as const)('of %s stays one, with a caption on each frame', async (name) => {
    const { result, bytes } = await tag(await animation(name));
    expect(result).toMatchObject(size);
    expect(await headerOf(bytes)).toMatchObject({ pages: 3, pageHeight: 120, delay: [100, 200, 300], loop: 3 });
    for (let page = 0; page < 3; page++) {
      const { data } = await sharp(bytes, { page }).removeAlpha().raw().toBuffer({ resolveWithObject: true });
      expect(data[page]).toBeGreaterThan(140);
      const band = data.subarray(size.width * 106 * 3);
      expect(Math.max(...band)).toBeGreaterThan(200);
      expect(Math.min(...band)).toBeLessThan(30);
    }
    expect((await read(bytes)).subject).toEqual(keywords);
  });

  it('counts with all its frames towards the limit', async () => {
    await expect(tag(await animation('gif'), keywords, 160 * 120 * 2)).rejects.toThrow(/3 frames of 160 x 120 pixels/);
  });

  it('of too many frames is refused, however small they are', async () => {
    const raw = { width: 1, height: 5_001, channels: 3, pageHeight: 1 } as const;
    const film = await sharp(Buffer.alloc(3 * 5_001), { raw })
      .gif({ keepDuplicateFrames: true })
      .toBuffer();
    expect(await refusal(film)).toBe('The picture has 5001 frames; 5000 is the limit.');
  });

  it('of hundreds of frames is no trouble, even if some are alike', async () => {
    const raw = { width: 64, height: 48 * 300, channels: 3, pageHeight: 48 } as const;
    const pixels = Buffer.alloc(raw.width * raw.height * 3, 90);
    const { bytes } = await tag(await sharp(pixels, { raw }).gif({ keepDuplicateFrames: true }).toBuffer());
    expect(await headerOf(bytes)).toMatchObject({ pages: 300, pageHeight: 48 });
  });
});

describe('a TIFF', () => {
  it('of several pages has a caption on each', async () => {
    const pages = await sharp([base, base], { join: { animated: true } })
      .tiff({ compression: 'lzw' })
      .toBuffer();
    const { result, bytes } = await tag(pages);
    expect(result).toMatchObject(size);
    expect(await headerOf(bytes)).toMatchObject({ pages: 2, pageHeight: 120 });
    expect(farthest(await rows(bytes, 0, 120), await rows(bytes, 120, 120))).toBe(0);
    expect(farthest(await rows(bytes, 104, 16), await rows(base, 104, 16))).toBeGreaterThan(100);
  });

  it('of pages of different sizes is refused, rather than to lose some', async () => {
    const pyramid = await plain()
      .tiff({ pyramid: true, tile: true, tileWidth: 32, tileHeight: 32, compression: 'lzw' })
      .toBuffer();
    expect(await refusal(pyramid)).toMatch(/^The TIFF picture/);
  });

  it('of colours that no format shows becomes sRGB', async () => {
    for (const space of ['lab', 'labs', 'scrgb']) {
      const { bytes } = await tag(await plain().toColourspace(space).tiff({ compression: 'lzw' }).toBuffer());
      expect(await headerOf(bytes)).toMatchObject({ space: 'srgb', depth: 'uchar' });
      expect(farthest(await rows(bytes, 0, 80), await rows(base, 0, 80))).toBeLessThan(6);
    }
  });

  it('with directories below the first is refused: a camera keeps its picture there, and a preview in the first', async () => {
    const raw = await plain().tiff({ compression: 'none', predictor: 'none' }).toBuffer();
    const sampleFormat = raw.lastIndexOf(Buffer.from([0x53, 0x01, 0x03, 0x00]));
    Buffer.from([0x4a, 0x01, 0x04, 0, 1, 0, 0, 0, 8, 0, 0, 0]).copy(raw, sampleFormat);
    expect(await refusal(raw)).toMatch(/export it first/);
  });
});

describe('what is not tagged', () => {
  it('is what is no picture', async () => {
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.alloc(1000),
      Buffer.from('a letter'),
      Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    ]) {
      expect(await refusal(bytes)).toMatch(/^This is not a JPEG/);
    }
  });

  it('is a bomb: it is refused by its header, without the memory and the time that it wants', async () => {
    const png = Buffer.from(base);
    png.writeUInt32BE(60_000, 16);
    png.writeUInt32BE(60_000, 20);
    png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
    const gif = await plain().gif().toBuffer();
    const descriptor = gif.indexOf(Buffer.from([0x2c, 0, 0, 0, 0, 160, 0, 120, 0]));
    for (const at of [6, 8, descriptor + 5, descriptor + 7]) gif.writeUInt16LE(60_000, at);
    const webp = await plain().webp().toBuffer();
    for (const at of [26, 28]) webp.writeUInt16LE(0x3fff, at);
    for (const bomb of [png, gif, webp]) {
      const memory = process.memoryUsage.rss();
      const start = performance.now();
      expect(await refusal(bomb)).toMatch(/60000 x 60000 pixels; 100 megapixels is the limit|16383 x 16383/);
      expect(performance.now() - start).toBeLessThan(1000);
      expect(process.memoryUsage.rss() - memory).toBeLessThan(100e6);
    }
  });

  it('because of a disk is no fault of the picture', async () => {
    const absent = tagPicture({ input: join(folder, 'absent'), output: join(folder, 'out'), keywords });
    await expect(absent).rejects.toMatchObject({ code: 'ENOENT' });
    await writeFile(join(folder, 'fine'), base);
    const nowhere = tagPicture({ input: join(folder, 'fine'), output: join(folder, 'absent', 'out'), keywords });
    await expect(nowhere).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(nowhere).rejects.not.toBeInstanceOf(PictureError);
  });
});
