import { join } from 'node:path';
import { interruptDemo } from '@lab/testing/processes';
import { expect, it } from 'vitest';

it('a demo that is interrupted says so and leaves nothing behind, its database included', async () => {
  const ended = await interruptDemo(join(import.meta.dirname, '../src/main.ts'), /^ana posts/);
  expect(ended).toEqual({ code: 130, left: [], stderr: expect.stringMatching(/^interrupted\n$/m) as string });
});
