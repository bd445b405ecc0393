/** The visible part of a tag: white keywords on a dark band along the bottom of a picture. */
import { createRequire } from 'node:module';
import sharp from 'sharp';
import { escapeXml } from './keywords.ts';
import type { Size } from './inspect.ts';

/**
 * From a package, so that a caption looks the same wherever no fonts are installed. Of the living scripts it has Latin, Greek, Cyrillic, Arabic,
 * Hebrew and some more; what it lacks (Chinese, say) appears as a box with the character's number, and is whole in the metadata.
 */
const fontfile = createRequire(import.meta.url).resolve('dejavu-fonts-ttf/ttf/DejaVuSans.ttf');

/** Smaller pictures get no caption: nobody could read it, or it would hide the picture. */
export const smallestCaptioned: Size = { width: 64, height: 48 };

/** Letters any smaller than 9 pixels cannot be read. */
const fontPixelsMin = 9;
/** Cairo draws at most 32,767 pixels in a row, and a first attempt at a text may be more than twice as long as its room. */
const roomPixelsMax = 6_000;
/** A narrow letter. A text with more of them than have room is cut before it is drawn for the first time. */
const narrowEm = 0.45;

/** Pixels of 4 bytes, RGBA. */
export interface Band extends Size {
  readonly data: Buffer;
}

/** As wide as the picture, and at most a third of its height. `undefined` if the picture is too small, or if nothing of the keywords can be seen. */
export async function captionBand(keywords: readonly string[], { width, height }: Size): Promise<Band | undefined> {
  if (width < smallestCaptioned.width || height < smallestCaptioned.height) return undefined;
  const room = Math.min(Math.round(width * 0.94), roomPixelsMax);
  const fontPixels = Math.max(fontPixelsMin, Math.round(Math.min(room / 32, height / 8)));
  const bandHeight = Math.round(fontPixels * 1.8);
  const text = await fittedText(keywords.join(' · '), fontPixels, room, bandHeight);
  if (text === undefined) return undefined;
  const left = Math.round((width - text.width) / 2);
  const top = Math.round((bandHeight - text.height) / 2);
  const data = await sharp({ create: { width, height: bandHeight, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0.65 } } })
    .composite([{ input: text.data, raw: { width: text.width, height: text.height, channels: 4 }, left, top }])
    .raw()
    .toBuffer();
  return { data, width, height: bandHeight };
}

/** The text on one line, cut and with an ellipsis if it is too long. */
async function fittedText(text: string, fontPixels: number, room: number, heightMax: number): Promise<Band | undefined> {
  const characters = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
  let kept = Math.min(characters.length, Math.ceil(room / (fontPixels * narrowEm)));
  for (;;) {
    const shown = kept === characters.length ? text : `${characters.slice(0, kept).join('').trimEnd()}…`;
    const drawn = await drawnText(shown, fontPixels, heightMax);
    if (drawn === undefined || drawn.width <= room) return drawn;
    kept = Math.min(kept - 1, Math.floor((kept * room) / drawn.width));
  }
}

/** Letters with towers of accents are scaled down to `heightMax`. `undefined` if there is nothing to see. */
async function drawnText(text: string, fontPixels: number, heightMax: number): Promise<Band | undefined> {
  const markup = `<span foreground="white">${escapeXml(text.replace(directionControls, ''))}</span>`;
  try {
    const { data, info } = await sharp({
      text: { text: markup, font: `DejaVu Sans ${fontPixels}`, fontfile, rgba: true, dpi: 72 },
    })
      .resize({ height: heightMax, withoutEnlargement: true })
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { data, width: info.width, height: info.height };
  } catch (error) {
    if (error instanceof Error && error.message.includes('no text to render')) return undefined;
    throw error;
  }
}

/** Each script runs in its own direction by itself; these would turn the keywords around them too. */
const directionControls = /[\u202A-\u202E\u2066-\u2069]/g;
