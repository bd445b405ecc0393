import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { formatOf, headBytes, inspect, pictureFormats, type FormatName } from './inspect.ts';
import { makePicture } from '../../data/make.ts';

const names = Object.keys(pictureFormats) as FormatName[];
const picture = (format: FormatName, width = 70, height = 50): Promise<Buffer> => makePicture({ seed: 1, width, height, format });
const sizeOf = (head: Uint8Array, sizeBytes = head.length): unknown => {
  const inspection = inspect(head, sizeBytes);
  return inspection.ok ? inspection.size : inspection.reason;
};
const withBytes = (bytes: Buffer, at: number, ...values: number[]): Buffer => {
  const changed = Buffer.from(bytes);
  changed.set(values, at);
  return changed;
};

describe('an inspection', () => {
  it.each(names)('of a %s finds its format and the size that its decoder finds', async (name) => {
    for (const [width, height] of [
      [70, 50],
      [1, 1],
      [1, 300],
      [301, 16],
    ] as const) {
      const bytes = await picture(name, width, height);
      const { width: decodedWidth, height: decodedHeight } = await sharp(bytes).metadata();
      expect([decodedWidth, decodedHeight]).toEqual([width, height]);
      expect(inspect(bytes, bytes.length)).toEqual({ ok: true, format: pictureFormats[name], size: { width, height } });
    }
  });

  it('of the other kinds of a format finds the size too', async () => {
    const plain = sharp(await picture('png'));
    const size = { width: 70, height: 50 };
    const kinds = [
      plain
        .clone()
        .jpeg({ progressive: true })
        .withMetadata({ exif: { IFD0: { Artist: 'somebody' } } }),
      plain.clone().png({ progressive: true, palette: true }),
      plain.clone().webp({ lossless: true }),
      plain.clone().webp().withMetadata(),
      plain.clone().ensureAlpha(0.5).webp(),
      plain.clone().ensureAlpha(0.5).avif(),
      plain.clone().tiff({ pyramid: true, tile: true, tileWidth: 16, tileHeight: 16 }),
    ];
    for (const kind of kinds) expect(sizeOf(await kind.toBuffer())).toEqual(size);
    const oldWebpInBigEndianTiff = Buffer.from('4d4d002a000000080002010000030000000100460000010100040000000100000032', 'hex');
    expect(sizeOf(oldWebpInBigEndianTiff)).toEqual(size);
  });

  it('needs no more than the head', async () => {
    for (const name of names.filter((each) => each !== 'tiff')) {
      const bytes = await picture(name, 200, 150);
      expect(sizeOf(bytes.subarray(0, 1024), bytes.length)).toEqual({ width: 200, height: 150 });
    }
  });

  it('accepts a picture with an unknown size if the header lies behind the head, and refuses it if there is no more', async () => {
    const jpeg = await picture('jpeg');
    const segment = Buffer.concat([Buffer.from([0xff, 0xe2, 0xff, 0xff]), Buffer.alloc(0xfffd)]);
    const profiled = Buffer.concat([jpeg.subarray(0, 2), segment, segment, jpeg.subarray(2)]);
    expect(sizeOf(profiled)).toEqual({ width: 70, height: 50 });
    for (const late of [profiled, await picture('tiff', 300, 300)]) {
      const head = late.subarray(0, headBytes);
      expect(inspect(head, late.length)).toMatchObject({ ok: true, size: undefined });
      expect(sizeOf(head)).toMatch(/ends within its header/);
    }
  });

  it('refuses what is no picture, whatever it is called', () => {
    expect(sizeOf(Buffer.alloc(0))).toBe('The file is empty.');
    const texts = [
      'Dear Sir or Madam',
      '<svg xmlns="http://www.w3.org/2000/svg"/>',
      '%PDF-1.7',
      'RIFF0000WAVE',
      'GIF88a',
      '\0\0\0 ftypheic',
    ];
    for (const text of texts) expect(sizeOf(Buffer.from(text))).toMatch(/^This is not a/);
    expect(sizeOf(Buffer.alloc(5000))).toMatch(/^This is not a/);
  });

  it('refuses a film: the frames of an AVIF sequence would be lost', () => {
    expect(formatOf(Buffer.from('\0\0\0 ftypavis\0\0\0\0avifavismsf1', 'latin1'))).toBeUndefined();
    expect(formatOf(Buffer.from('\0\0\0 ftypmif1\0\0\0\0mif1avifmiaf', 'latin1'))).toBe(pictureFormats.avif);
  });

  it('refuses damaged headers', async () => {
    const [jpeg, avif] = [await picture('jpeg'), await picture('avif')];
    const damaged = [
      withBytes(jpeg, 4 + jpeg.readUInt16BE(4), 0x00),
      withBytes(jpeg, 4, 0, 1),
      withBytes(await picture('png'), 12, 0x20),
      withBytes(await picture('png'), 16, 0, 0, 0, 0),
      withBytes(await picture('webp'), 12, 0x20),
      withBytes(await picture('webp'), 23, 0),
      withBytes(await picture('gif'), 6, 0, 0),
      withBytes(avif, avif.indexOf('ipco'), 0x20),
    ];
    for (const bytes of damaged) expect(sizeOf(bytes)).toMatch(/header of this \w+ picture is damaged/);
  });

  it('refuses a picture over the limit by what its header claims', async () => {
    const claims = [
      withBytes(await picture('png'), 16, 0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60),
      withBytes(await picture('gif'), 6, 0x60, 0xea, 0x60, 0xea),
      withBytes(await picture('webp'), 26, 0xff, 0x3f, 0xff, 0x3f),
      Buffer.from('RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x5f\xea\0\x5f\xea\0', 'latin1'),
    ];
    for (const bytes of claims)
      expect(sizeOf(bytes)).toMatch(/^The picture has (60000|16383) x (60000|16383) pixels; 100 megapixels is the limit/);
    expect(inspect(await picture('png'), 1000, 70 * 50)).toMatchObject({ ok: true });
    expect(inspect(await picture('png'), 1000, 70 * 50 - 1)).toMatchObject({ ok: false });
  });

  it('never throws, on any bytes', () => {
    const signatures = [
      '',
      '\xff\xd8\xff',
      '\x89PNG\r\n\x1a\n',
      'RIFFxxxxWEBPVP8 ',
      'RIFFxxxxWEBPVP8L',
      'GIF89a',
      'II*\0',
      'MM\0*',
      '\0\0\0\x14ftypavif\0\0\0\0avif\0\0\0Pmeta',
    ];
    const bytes = fc.tuple(fc.constantFrom(...signatures), fc.uint8Array({ maxLength: 200 }), fc.boolean());
    fc.assert(
      fc.property(bytes, ([signature, rest, whole]) => {
        const head = Buffer.concat([Buffer.from(signature, 'latin1'), rest]);
        const inspection = inspect(head, head.length + (whole ? 0 : 1));
        if (inspection.ok) expect(inspection.format).toBe(formatOf(head));
        else expect(inspection.reason).toMatch(/^[A-Z].*\.$/);
      }),
      { numRuns: 2000 },
    );
  });

  it('never throws on a picture cut or changed anywhere', async () => {
    const pictures = await Promise.all(names.map((name) => picture(name, 8, 8)));
    const change = fc.tuple(fc.constantFrom(...pictures), fc.nat(), fc.nat(400), fc.nat(255));
    fc.assert(
      fc.property(change, ([bytes, cut, at, value]) => {
        const head = withBytes(bytes, at % bytes.length, value).subarray(0, cut % (bytes.length + 1));
        expect(inspect(head, bytes.length)).toHaveProperty('ok');
      }),
      { numRuns: 2000 },
    );
  });
});
