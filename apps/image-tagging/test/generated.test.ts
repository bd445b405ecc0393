import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const app = join(import.meta.dirname, '..');
const bin = join(app, '../../node_modules/.bin');

test('the generated code is what the protobuf file says', { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lab-generated-'));
  try {
    const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}` };
    await promisify(execFile)(join(bin, 'buf'), ['generate', '--output', folder], { cwd: app, env });
    const file = 'src/generated/lab/images/v1/images.ts';
    expect(await readFile(join(folder, file), 'utf8')).toBe(await readFile(join(app, file), 'utf8'));
  } finally {
    await rm(folder, { recursive: true });
  }
});
