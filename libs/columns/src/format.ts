const lf = 0x0a;
const cr = 0x0d;
/** Of files that are no text of one byte or more a character. */
const beginnings: readonly [bytes: readonly number[], is: string][] = [
  [[0x1f, 0x8b], 'is compressed by gzip: unpack it'],
  [[0xff, 0xfe], 'is UTF-16: save it as UTF-8'],
  [[0xfe, 0xff], 'is UTF-16: save it as UTF-8'],
  [[0x50, 0x4b], 'is a zip archive: unpack it'],
];

/** What a file is, from its beginning, whose header cannot be read, and what to do: to follow "the file". Undefined where it looks like CSV. */
export function formatProblem(bytes: Uint8Array): string | undefined {
  const known = beginnings.find(([beginning]) => beginning.every((byte, index) => bytes[index] === byte));
  if (known !== undefined) return known[1];
  const firstLine = new TextDecoder('latin1').decode(bytes.subarray(0, Math.max(0, bytes.indexOf(lf))));
  const other = [';', '\t', '|'].find((separator) => firstLine.includes(separator));
  if (other !== undefined && !firstLine.includes(','))
    return `separates its fields by ${JSON.stringify(other)}: a comma is expected`;
  if (bytes.includes(cr) && !bytes.includes(lf)) return 'has lines that end with CR alone, as old Macs wrote them: convert them';
  return undefined;
}
