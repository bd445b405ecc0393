/** Pictures that nobody took: landscapes for the demo, the tests and the bench. */
import sharp from 'sharp';
import type { FormatName, Size } from '../src/pictures/inspect.ts';

export interface Scene extends Size {
  /** A whole number; its lower 32 bits count. Another seed is another landscape. */
  seed: number;
  format: FormatName;
}

/**
 * A sky with a sun, four ridges one behind the other, and water: gradients, edges and grain, so that codecs find it about as hard as a
 * photograph. 4000 x 3000 pixels are a JPEG of 2 to 6 MB. The same scene is the same picture, and with the same libvips the same bytes.
 */
export async function makePicture({ seed, width, height, format }: Scene): Promise<Buffer> {
  const image = sharp(landscape(seed, { width, height }), { raw: { width, height, channels: 3 } });
  return image.toFormat(format, format === 'tiff' ? { compression: 'deflate' } : {}).toBuffer();
}

type Colour = readonly [red: number, green: number, blue: number];
type Next = () => number;

const ridgeCount = 4;

/** Rows from the top, RGB. */
function landscape(seed: number, { width, height }: Size): Buffer {
  const next = mulberry32(seed);
  const hue = next();
  const layers = [hue, ...Array.from({ length: ridgeCount }, () => hue + 0.3 + next() * 0.3)].map((layerHue, depth) =>
    colourOf(layerHue, 0.25 + 0.08 * depth, 0.9 - 0.15 * depth),
  );
  const ridges = Array.from({ length: ridgeCount }, (_, depth) =>
    ridge(next, width, height * (0.4 + 0.11 * depth), height * 0.06),
  );
  const [across, down] = [texture(next, width), texture(next, height)];
  const sun = {
    x: width * (0.2 + 0.6 * next()),
    y: height * (0.1 + 0.2 * next()),
    radius: Math.max(1, height * (0.04 + 0.05 * next())),
  };
  const shore = height * (0.78 + 0.08 * next());
  const pixels = Buffer.allocUnsafe(width * height * 3);
  let grain = seed | 1;
  for (let y = 0, at = 0; y < height; y++) {
    const light = 1.15 - 0.45 * (y / height);
    for (let x = 0; x < width; x++, at += 3) {
      const mirrored = y < shore ? y : shore - 3 * (y - shore) + 4 * down[y]!;
      let depth = ridgeCount;
      while (depth > 0 && mirrored < ridges[depth - 1]![x]!) depth--;
      const colour = layers[depth]!;
      const inSun = depth === 0 && (x - sun.x) ** 2 + (mirrored - sun.y) ** 2 < sun.radius ** 2;
      // Xorshift by George Marsaglia: a number for each pixel.
      grain ^= grain << 13;
      grain ^= grain >>> 17;
      grain ^= grain << 5;
      const noise = (grain >> 27) + (depth === 0 ? 2 : 9) * across[x]! * down[y]! + (inSun ? 90 : 0) - (y < shore ? 0 : 25);
      for (let channel = 0; channel < 3; channel++) {
        const value = colour[channel]! * light + noise;
        pixels[at + channel] = value < 0 ? 0 : value > 255 ? 255 : value;
      }
    }
  }
  return pixels;
}

/** The height of a ridge for every column: waves, each half as long and half as high as the one before. */
function ridge(next: Next, width: number, base: number, amplitude: number): Float64Array {
  const waves = Array.from({ length: 8 }, (_, octave) => ({
    length: (1.5 + next()) * 2 ** octave,
    phase: next() * 7,
    height: amplitude / 2 ** octave,
  }));
  return Float64Array.from({ length: width }, (_, x) =>
    waves.reduce((sum, { length, phase, height }) => sum + height * Math.sin((x / width) * length * 6 + phase), base),
  );
}

/** A curve of about -1 to 1 that changes from pixel to pixel, the more the finer it looks. */
function texture(next: Next, length: number): Float64Array {
  let value = 0;
  return Float64Array.from({ length }, () => (value = value * 0.8 + (next() - 0.5) * 1.2));
}

function colourOf(hue: number, saturation: number, lightness: number): Colour {
  const channel = (shift: number): number =>
    255 * lightness * (1 - saturation * (0.5 - 0.5 * Math.cos((hue + shift) * 2 * Math.PI)));
  return [channel(0), channel(1 / 3), channel(2 / 3)];
}

/** Mulberry32 by Tommy Ettinger: 32 bits of state, from 0 up to 1. */
function mulberry32(seed: number): Next {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
