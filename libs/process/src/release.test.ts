import { expect, it } from 'vitest';
import { release } from './release.ts';

it('takes a large buffer away from all that see it, and leaves one that others share', () => {
  const large = Buffer.alloc(100_000, 1);
  const view = large.subarray(10, 20);
  const [small, other] = [Buffer.from('small'), Buffer.from('other')];
  expect(small.buffer).toBe(other.buffer);
  release(view);
  release(small);
  release(Buffer.alloc(0));
  release(large);
  expect([large.length, view.length, small.toString(), other.toString()]).toEqual([0, 0, 'small', 'other']);
});
