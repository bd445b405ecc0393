import { describe, expect, it } from 'vitest';
import { bytesText } from './progress.ts';

describe('a number of bytes', () => {
  it.each([
    [0, '0 B'],
    [1_023, '1023 B'],
    [1_024, '1.00 KiB'],
    [10_240, '10.0 KiB'],
    [1_048_575, '1024 KiB'],
    [1_048_576, '1.00 MiB'],
    [1_100 * 1_024, '1.07 MiB'],
    [2 ** 31, '2.00 GiB'],
    [2 ** 50, '1024 TiB'],
  ])('of %i is shown as %s', (bytes, text) => expect(bytesText(bytes)).toBe(text));
});
