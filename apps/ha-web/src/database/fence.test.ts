import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { agentSilentMs, Fence } from './fence.ts';

let folder: string;
let aliveFile: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fence-'));
  aliveFile = join(folder, 'alive');
});
afterEach(() => rm(folder, { recursive: true }));

describe('agentSilentMs', () => {
  it('counts from what the agent said last', async () => {
    await new Fence({ peerAddress: '10.0.0.1', primaryFile: join(folder, 'primary'), aliveFile }).watched();
    expect(await agentSilentMs(aliveFile)).toBeLessThan(5_000);
  });

  it('takes an agent for silent that has said nothing, or was stopped in the middle of a word', async () => {
    expect(await agentSilentMs(aliveFile)).toBe(Infinity);
    for (const piece of ['', '17']) {
      await writeFile(aliveFile, piece);
      expect(await agentSilentMs(aliveFile)).toBe(Infinity);
    }
  });
});
