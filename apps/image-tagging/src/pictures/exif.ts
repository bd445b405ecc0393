/** Keywords as EXIF, for what does not read XMP: `XPKeywords`, which Windows shows, and `ImageDescription`, which everything shows. */

/** EXIF fits into one JPEG segment of 64 KiB or is lost, and most of that belongs to the camera. The keywords are whole in the XMP. */
const keywordsUnitsMax = 4_000;
const descriptionUnitsMax = 1_000;

/** The two fields with 2 bytes for each unit of the first, and what libvips adds where there was no EXIF. */
const addedBytesMax = 2 * keywordsUnitsMax + descriptionUnitsMax + 1_000;
const exifBytesMax = 65_000;

/**
 * The fields for sharp's `withExifMerge`: as many keywords as fit, or nothing where the picture's own EXIF leaves no room. An original
 * description is replaced. It is ASCII: libvips leaves out accents, and writes `?` for what has no letter there. `XPKeywords` holds every character,
 * but a semicolon ends a keyword: it becomes a comma.
 */
export function exifFields(keywords: readonly string[], originalBytes: number): Record<string, string> {
  if (originalBytes + addedBytesMax > exifBytesMax) return {};
  const fields = {
    XPKeywords: joined(
      keywords.map((keyword) => keyword.replaceAll(';', ',')),
      ';',
      keywordsUnitsMax,
    ),
    ImageDescription: joined(keywords, ', ', descriptionUnitsMax),
  };
  const filled = Object.entries(fields).filter(([, text]) => text !== '');
  return Object.fromEntries(filled.map(([name, text]) => [name, text + tail]));
}

/**
 * libvips takes four things in brackets at the end for its own note on the type, and cuts them off. A keyword may look like that, so there is
 * always one to cut.
 */
const tail = ' (keywords, ASCII, 1 components, 1 bytes)';

function joined(keywords: readonly string[], separator: string, unitsMax: number): string {
  let text = '';
  for (const keyword of keywords) {
    const longer = text === '' ? keyword : text + separator + keyword;
    if (longer.length > unitsMax) break;
    text = longer;
  }
  return text;
}

/**
 * Unlinks the preview in a JPEG's EXIF, in place: it shows the picture as it was, not turned and without a caption, and file managers would show
 * it. libvips would carry it over, and sharp cannot say otherwise. The preview is what the second directory (IFD1) has; its address is behind the
 * entries of the first.
 */
export function unlinkPreview(jpeg: Buffer): void {
  const marker = jpeg.indexOf('Exif\0\0', 0, 'latin1');
  if (marker < 0) return;
  const lengthAt = marker - 2;
  const exif = jpeg.subarray(marker + 6, lengthAt + jpeg.readUInt16BE(lengthAt));
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  const order = exif.toString('latin1', 0, 4);
  if (order !== 'II*\0' && order !== 'MM\0*') return;
  const little = order === 'II*\0';
  try {
    const directory = view.getUint32(4, little);
    view.setUint32(directory + 2 + view.getUint16(directory, little) * 12, 0, little);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // outside of the segment: damaged, and libexif will see that too
  }
}
