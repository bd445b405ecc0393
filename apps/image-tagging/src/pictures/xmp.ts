/**
 * Keywords as XMP (ISO 16684-1): the array `dc:subject`, which is where photo programs look for them first.
 *
 * A packet that the picture brings along (with its copyright, rating, edits) is kept, and the keywords join those it has, if the packet is
 * of the simple kind that all known programs write. One that is broken, large or unusual is replaced: nothing is worse than a packet that no
 * program can read.
 */
import { escapeXml } from './keywords.ts';

/** What libvips puts into a JPEG, in one segment; a longer packet it leaves out without a word. The same limit holds for every format. */
const packetBytesMax = 60_000;

const rdfNamespace = 'http://www.w3.org/1999/02/22-rdf-syntax-ns#';
const dcNamespace = 'http://purl.org/dc/elements/1.1/';

/**
 * The packet for a picture with these keywords, which must be clean (`cleanKeywords`). 100 keywords of 100 code points always fit; those that do not are
 * a RangeError.
 */
export function xmpPacket(keywords: readonly string[], original?: Uint8Array): string {
  const items = keywords.map(escapeXml);
  const merged = original && mergedPacket(items, original);
  const packet = merged !== undefined && fits(merged) ? merged : newPacket(items);
  if (!fits(packet)) throw new RangeError(`${keywords.length} keywords are longer than ${packetBytesMax} bytes of XMP`);
  return packet;
}

const fits = (packet: string): boolean => Buffer.byteLength(packet) <= packetBytesMax;

function newPacket(items: readonly string[]): string {
  return (
    '<?xpacket begin="\uFEFF" id="W5M0MpCehiHzreSzNTczkc9d"?>' +
    `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="${rdfNamespace}">` +
    description(items, 'rdf:about=""') +
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
  );
}

function description(items: readonly string[], about: string): string {
  const list = items.map((item) => `<rdf:li>${item}</rdf:li>`).join('');
  return `<rdf:Description ${about} xmlns:dc="${dcNamespace}"><dc:subject><rdf:Bag>${list}</rdf:Bag></dc:subject></rdf:Description>`;
}

/**
 * The array is taken out where it is and put back, longer, into a description of its own: RDF allows any number of them about the same thing.
 * `undefined` if the packet is not of the simple kind.
 */
function mergedPacket(items: readonly string[], original: Uint8Array): string | undefined {
  const text = simpleText(original);
  const subject = text?.match(/<dc:subject>\s*<rdf:(Bag|Seq)>((?:\s*<rdf:li>[^<]*<\/rdf:li>)*)\s*<\/rdf:\1>\s*<\/dc:subject>/);
  const rest = subject ? text!.replace(subject[0], '') : text;
  if (rest === undefined || rest.includes('dc:subject')) return undefined;
  const present = [...(subject?.[2] ?? '').matchAll(/<rdf:li>([^<]*)</g)].map(([, item]) => item!);
  const about = /<rdf:Description\s[^>]*?(rdf:about\s*=\s*(?:"[^"]*"|'[^']*'))/.exec(rest)?.[1] ?? 'rdf:about=""';
  const end = rest.lastIndexOf('</rdf:RDF>');
  return rest.slice(0, end) + description([...new Set([...present, ...items])], about) + rest.slice(end);
}

/** The packet, if it is short and well-formed UTF-8, has one RDF part, and calls the namespaces by their usual names. */
function simpleText(original: Uint8Array): string | undefined {
  if (original.length > packetBytesMax) return undefined;
  const text = Buffer.from(original).toString();
  const usual =
    !text.includes('\uFFFD') &&
    isWellFormed(text) &&
    text.split('</rdf:RDF>').length === 2 &&
    namespacesOf(text, 'rdf').every((name) => name === rdfNamespace) &&
    namespacesOf(text, 'dc').every((name) => name === dcNamespace) &&
    text.split(dcNamespace).length - 1 === namespacesOf(text, 'dc').length;
  return usual ? text : undefined;
}

function namespacesOf(text: string, prefix: string): string[] {
  return [...text.matchAll(new RegExp(`\\sxmlns:${prefix}\\s*=\\s*["']([^"']*)`, 'g'))].map(([, name]) => name!);
}

/** Elements that close in order, their attributes, text and processing instructions; no comments, CDATA, document types or entities of its own. */
function isWellFormed(text: string): boolean {
  const open: string[] = [];
  let at = 0;
  while (at < text.length) {
    token.lastIndex = at;
    const match = token.exec(text);
    if (match === null) return false;
    at = token.lastIndex;
    const { end, name, empty } = match.groups!;
    if (name === undefined || empty) continue;
    if (!end) open.push(name);
    else if (open.pop() !== name) return false;
  }
  return open.length === 0 && !/&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[\dA-Fa-f]+);)/.test(text);
}

const token = /<\?[^>]*\?>|<(?<end>\/?)(?<name>[\w:.-]+)(?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*\s*(?<empty>\/?)>|[^<]+/y;

/**
 * Puts a packet into a GIF, which libvips does not do: as an application extension in front of the trailer (XMP Specification, part 3, 1.1.2). A
 * reader that does not know it takes the text for blocks with a length in front, and is caught by the 258 bytes behind it, of which each leads to the
 * last.
 */
export function gifWithXmp(gif: Uint8Array, packet: string): Buffer {
  const catcher = Buffer.from([0x01, ...Array.from({ length: 256 }, (_, index) => 255 - index), 0x00]);
  const trailer = gif.length - 1;
  return Buffer.concat([
    gif.subarray(0, trailer),
    Buffer.from('\x21\xff\x0bXMP DataXMP', 'latin1'),
    Buffer.from(packet),
    catcher,
    gif.subarray(trailer),
  ]);
}
