import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const directory = join(import.meta.dirname, '..');

it('the README shows an example that runs, and what it prints', { timeout: 120_000 }, async () => {
  const [, program, output] = /```ts\n(.*?)```\n\n```text\n(.*?)```/s.exec(readFileSync(join(directory, 'README.md'), 'utf8'))!;
  const args = ['--input-type=module-typescript', '--eval', program!];
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined };
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: directory, env, timeout: 100_000 });
  expect(stdout).toBe(output);
});
