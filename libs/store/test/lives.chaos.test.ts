/** The lives of store.test.ts, many more of them. */
import { simulate } from '@lab/testing';
import { it } from 'vitest';
import { anythingHappens, killedInTheMiddle } from './life.ts';

const options = { env: process.env, file: import.meta.filename };

it('a store has all that is listed, byte for byte, after anything that happens to it', { timeout: 600_000 }, async () => {
  await simulate({ ...options, seeds: 200 }, anythingHappens);
});

it('a store has all that was listed when its process is killed in the middle', { timeout: 600_000 }, async () => {
  await simulate({ ...options, seeds: 100 }, killedInTheMiddle);
});
