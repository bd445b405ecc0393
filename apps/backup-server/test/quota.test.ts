/** A node takes no more of the store than its quota, however often it tries. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ListedVersion } from '../src/roles/store-commands.ts';
import { RealSystem, tree } from './real-system.ts';

let system: RealSystem;
beforeEach(async () => void (system = await RealSystem.start()));
afterEach(() => system[Symbol.asyncDispose]());

/** More than one bundle. */
const size = 2_000_000;

/** What the versions that are listed have stored. */
async function stored(): Promise<number[]> {
  const versions = (await system.admin('list')) as ListedVersion[];
  return versions.map(({ storedBytes }) => storedBytes);
}

async function limit(bytes: number): Promise<void> {
  await system.stopServer();
  system.nodeQuota = bytes;
  await system.startServer();
}

/** What the node has taken, as the refusal says. */
async function refused(quota: number): Promise<number> {
  const error: unknown = await system.backUp().catch((caught: unknown) => caught);
  const sentence = new RegExp(
    `node desk may take ${quota} bytes of the store \\(--node-quota\\) and has taken (\\d+); \\d+ more do not fit: ` +
      'forget versions of it, or set a larger quota',
  );
  expect((error as Error).message).toMatch(sentence);
  return Number(sentence.exec((error as Error).message)![1]);
}

it('a try that does not fit fails, the next goes no further, and room is made by forgetting or by a larger quota', async () => {
  await system.write('two', randomBytes(size));
  await system.backUp();
  const [first, second] = await stored();
  expect(second).toBeGreaterThan(size);
  const quota = first! + second! + size + 10_000;
  await limit(quota);
  await system.write('three', randomBytes(size));
  await system.write('four', randomBytes(size));
  await refused(quota);
  // It stored what fits, and the next tries store nothing more.
  const taken = await refused(quota);
  expect(taken).toBeGreaterThan(first! + second! + size);
  expect(taken).toBeLessThanOrEqual(quota);
  expect(await refused(quota)).toBe(taken);
  expect(await stored()).toEqual([first, second]);

  await system.said('forget', ...tree, '--version', '2');
  expect(await system.backUp()).toMatchObject({ outcome: 'version', version: 3 });
  const third = (await stored())[1]!;
  expect(third).toBeGreaterThan(2 * size);
  expect(third).toBeLessThan(2 * size + 10_000);

  await system.write('five', randomBytes(size));
  expect(await refused(quota)).toBeGreaterThanOrEqual(first! + third);
  await limit(quota + size);
  expect(await system.backUp()).toMatchObject({ outcome: 'version', version: 4 });
});

it('a check of what is unchanged needs no room, one more byte does', async () => {
  await limit(1);
  expect(await system.backUp()).toMatchObject({ outcome: 'unchanged' });
  await system.write('two', 'x');
  expect(await refused(1)).toBe((await stored())[0]);
});
