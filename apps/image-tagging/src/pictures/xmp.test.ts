import exifr from 'exifr';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { cleanKeywords } from './keywords.ts';
import { makePicture } from '../../data/make.ts';
import { xmpPacket } from './xmp.ts';

const rdf = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"';
const dc = 'xmlns:dc="http://purl.org/dc/elements/1.1/"';
const packetWith = (content: string): Buffer =>
  Buffer.from(`<x:xmpmeta xmlns:x="adobe:ns:meta/">\n <rdf:RDF ${rdf}>\n${content}\n </rdf:RDF>\n</x:xmpmeta>`);
const subject = (...items: string[]): string =>
  `<dc:subject>\n<rdf:Bag>\n${items.map((item) => `<rdf:li>${item}</rdf:li>\n`).join('')}</rdf:Bag>\n</dc:subject>`;

const jpeg = await makePicture({ seed: 1, width: 8, height: 8, format: 'jpeg' });

/** As a photo program reads it out of a JPEG. */
async function read(packet: string): Promise<Record<string, unknown>> {
  const bytes = await sharp(jpeg).withXmp(packet).toBuffer();
  return (await exifr.parse(bytes, { xmp: true, mergeOutput: true })) as Record<string, unknown>;
}

async function subjects(packet: string): Promise<unknown[]> {
  return [(await read(packet)).subject].flat();
}

describe('a new packet', () => {
  it('gives back every keyword, whatever is in it', async () => {
    const keywords = ['</x:xmpmeta>', ']]>', '<?xpacket end="w"?>', '&amp;', '"\'', '😀', 'עברית', '漢字', 'a, b; c'];
    const packet = xmpPacket(keywords);
    const items = [...packet.matchAll(/<rdf:li>([^<]*)<\/rdf:li>/g)].map(([, item]) => item);
    const unescaped = items.map((item) => item!.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&'));
    expect(unescaped).toEqual(keywords);
    expect(await subjects(xmpPacket(['😀', 'עברית', '漢字', 'a, b; c']))).toEqual(['😀', 'עברית', '漢字', 'a, b; c']);
  });

  it('holds 100 keywords of 100 of the longest characters, and survives a JPEG', async () => {
    for (const character of ['&', '😀', '漢']) {
      const keywords = Array.from({ length: 100 }, (_, index) => character.repeat(98) + String(index).padStart(2, '0'));
      expect(await subjects(xmpPacket(keywords))).toHaveLength(100);
    }
    expect(() => xmpPacket(Array.from({ length: 10_000 }, (_, index) => `keyword ${index}`))).toThrow(RangeError);
  });
});

describe('the packet that a picture has', () => {
  it('keeps what is in it, and its keywords come first', async () => {
    const original = packetWith(
      `<rdf:Description rdf:about="uuid:1" ${dc} xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4">${subject('old', 'b &amp; c')}</rdf:Description>`,
    );
    const packet = xmpPacket(['new', 'old', 'b & c'], original);
    expect(packet.match(/<rdf:li>[^<]*/g)).toEqual(['<rdf:li>old', '<rdf:li>b &amp; c', '<rdf:li>new']);
    expect(packet.match(/rdf:about="uuid:1"/g)).toHaveLength(2);
    expect(await read(packet)).toMatchObject({ Rating: 4 });
  });

  it('gets keywords if it has none', async () => {
    const original = packetWith(
      `<rdf:Description rdf:about='' xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:Rating>3</xmp:Rating></rdf:Description>`,
    );
    expect(await read(xmpPacket(['new'], original))).toMatchObject({ Rating: 3, subject: 'new' });
  });

  it.each([
    ['is not closed', packetWith('<rdf:Description rdf:about="">')],
    ['has a comment', packetWith('<!-- </rdf:RDF> -->')],
    ['has an entity of its own', packetWith('&own;')],
    ['has several RDF parts', packetWith(`</rdf:RDF><rdf:RDF ${rdf}>`)],
    [
      'calls the keywords by another name',
      packetWith('<rdf:Description rdf:about="" xmlns:d="http://purl.org/dc/elements/1.1/"><d:subject/></rdf:Description>'),
    ],
    ['means something else by dc', packetWith('<rdf:Description rdf:about="" xmlns:dc="urn:x"><dc:a/></rdf:Description>')],
    [
      'has keywords in an unusual form',
      packetWith(`<rdf:Description rdf:about="" ${dc}><dc:subject rdf:resource="x"/></rdf:Description>`),
    ],
    ['has no RDF', Buffer.from('<x/>')],
    ['is not UTF-8', Buffer.from(packetWith('é').toString(), 'latin1')],
    ['is not XML', Buffer.from('hello')],
    ['is too long', packetWith(' '.repeat(60_000))],
    ['leaves no room', packetWith(' '.repeat(59_800))],
  ])('is replaced if it %s', (_, original) => {
    expect(xmpPacket(['new'], original)).toBe(xmpPacket(['new']));
  });

  it('may be anything', () => {
    const pieces = fc.constantFrom(
      '<rdf:RDF>',
      '</rdf:RDF>',
      '<a b="c">',
      '</a>',
      '<dc:subject>',
      '</dc:subject>',
      '<?x?>',
      '<',
      '>',
      ' ',
      '&',
      'ü',
      dc,
      rdf,
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 20 }), (parts) => {
        expect(xmpPacket(['new'], Buffer.from(parts.join('')))).toContain('<rdf:li>new</rdf:li>');
      }),
    );
  });

  it('takes no longer than it should, however it is made', () => {
    for (const hostile of [
      `<a${' '.repeat(59_000)}`,
      `<${'a'.repeat(59_000)}`,
      `<a${' a=""'.repeat(11_000)}`,
      '<a>'.repeat(19_000),
      '<dc:subject>'.repeat(4_000),
      '<rdf:Description '.repeat(3_000),
    ]) {
      const start = performance.now();
      xmpPacket(['new'], Buffer.from(hostile));
      expect(performance.now() - start).toBeLessThan(500);
    }
  });
});

describe('clean keywords', () => {
  it('have nothing in them that cannot be printed, and there are no empty ones and no repeats', () => {
    expect(cleanKeywords([' boat\r\n', 'boat', '', '\0', '\u200B\u2066', 'a\u0000b\u2028c', 'x\uFFFEy', 'lone \uD83D'])).toEqual([
      'boat',
      'a b c',
      'x y',
      'lone \uFFFD',
    ]);
  });

  it('are otherwise as they were', () => {
    const keywords = ['👨‍👩‍👧', 'עברית', '<b>', 'a  b', 'ﬁ'];
    expect(cleanKeywords(keywords)).toEqual(keywords);
  });
});
