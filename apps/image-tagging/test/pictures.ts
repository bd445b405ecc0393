import { makePicture } from '../data/make.ts';

export const mebibyte = 1024 * 1024;

export const picture = await makePicture({ seed: 1, width: 64, height: 48, format: 'jpeg' });

/** A picture of its own for each number, and of any length: what is behind a JPEG's end no decoder looks at. */
export function numbered(number: number, bytes = picture.length + 8): Buffer {
  const made = Buffer.alloc(bytes, `${number} behind the picture `);
  picture.copy(made);
  return made;
}
