import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startProcess } from '@lab/testing/processes';
import { expect, it } from 'vitest';

it('a demo that is interrupted leaves nothing behind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'demo-'));
  try {
    await using demo = startProcess([join(import.meta.dirname, '../src/main.ts'), 'demo'], { ...process.env, TMPDIR: folder });
    await demo.line(/^uploaded/);
    expect(await readdir(folder)).toHaveLength(1);
    demo.signal('SIGINT');
    expect(await demo.ended()).toBe(130);
    expect(demo.stderr).toMatch(/^interrupted\n$/m);
    expect(await readdir(folder)).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
