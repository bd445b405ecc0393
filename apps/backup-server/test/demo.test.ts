import { join } from 'node:path';
import { interruptDemo } from '@lab/testing/processes';
import { expect, it } from 'vitest';

it('a demo that is interrupted says so and leaves nothing behind', async () => {
  const ended = await interruptDemo(join(import.meta.dirname, '../src/main.ts'), /^content changes/);
  expect(ended).toEqual({ code: 130, left: [], stderr: expect.stringMatching(/^interrupted\n$/m) as string });
});
