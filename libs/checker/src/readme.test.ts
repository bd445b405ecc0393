import { join } from 'node:path';
import { runReadmeExample } from '@lab/testing/processes';
import { expect, it } from 'vitest';

it('the README shows an example that runs, and what it prints', async () => {
  const { shown, printed } = await runReadmeExample(join(import.meta.dirname, '..'));
  expect(printed).toBe(shown);
});
