/** A bad block under a real process: reads of it fail in the system's own calls. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import { RealSystem, tree } from './real-system.ts';

const main = join(import.meta.dirname, '..', 'src', 'main.ts');

/** Where there is no C compiler for Linux nothing can be put under a process: the simulation and reading.test of the store have fake disks. */
function canCompile(): boolean {
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
    return process.platform === 'linux';
  } catch {
    return false;
  }
}

interface Ended {
  code: number;
  said: string;
}

/** `main.ts open` on the store, where this byte of a file cannot be read. */
async function opened(system: RealSystem, file: string, at: number, ...args: string[]): Promise<Ended> {
  const shim = join(system.folder, 'bad-block.so');
  if (!existsSync(shim))
    execFileSync('gcc', ['-shared', '-fPIC', '-O', '-o', shim, join(import.meta.dirname, 'bad-block.c'), '-ldl']);
  const env = { ...process.env, LD_PRELOAD: shim, BAD_FILE: file, BAD_AT: String(at) };
  const command = [main, 'open', '--store', system.store, ...args];
  return promisify(execFile)(process.execPath, command, { env }).then(
    ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
    ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({ code, said: stdout + stderr }),
  );
}

it.skipIf(!canCompile())('a bad block is named, and costs what it covers', { timeout: 60_000 }, async () => {
  await using system = await RealSystem.start();
  const random = seededRandom(1);
  const content = Buffer.from(Array.from({ length: 100_000 }, () => random.integer(0, 255)));
  await system.write('large', content);
  await system.backUp();
  await expect.poll(async () => ((await system.admin('list')) as unknown[]).length, { timeout: 20_000 }).toBe(2);
  await system.stopServer();
  const packs = join(system.store, 'packs');
  const sizes = (await readdir(packs)).map(async (name) => ({ name, size: (await stat(join(packs, name))).size }));
  const { name: pack } = (await Promise.all(sizes)).sort((a, b) => b.size - a.size)[0]!;
  const bad = [join(packs, pack), 50_000] as const;
  const verified = await opened(system, ...bad, 'verify');
  expect(verified.code).toBe(1);
  expect(verified.said).toContain(`packs/${pack}:`);
  const to = join(system.folder, 'restored');
  const refused = await opened(system, ...bad, 'restore', ...tree, '--to', to);
  expect(refused.code).toBe(1);
  expect(refused.said).toContain('the store has damage');
  const rest = join(system.folder, 'rest');
  await opened(system, ...bad, 'restore', ...tree, '--to', rest, '--partial');
  expect((await readFile(join(rest, 'one'))).toString()).toBe('the first\n');
  expect(existsSync(join(rest, 'large'))).toBe(false);
  const saved = join(system.folder, 'rest.tgz');
  const queried = await opened(system, ...bad, 'query', ...tree, '--save-to', saved, '--partial');
  expect([queried.code, existsSync(saved)], queried.said).toEqual([1, true]);
  // One of the two copies of a record is enough, and so is the pack without its index.
  for (const each of [pack.replace('.pack', '.index'), pack]) {
    const whole = await opened(
      system,
      join(packs, each),
      each === pack ? 10_000_000 : 10,
      'restore',
      ...tree,
      '--to',
      `${to}-${each}`,
    );
    expect(whole.code, whole.said).toBe(0);
    expect(await readFile(join(`${to}-${each}`, 'large'))).toEqual(content);
  }
});
