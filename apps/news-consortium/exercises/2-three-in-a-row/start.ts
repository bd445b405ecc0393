/** Checks of one node, one after the other: change them, so that an agent is seen that counts failures and never begins again. */
import { silentLogger } from '@lab/process';
import { eventually, FakeClock } from '@lab/testing';
import { expect, it } from 'vitest';
import { Decider } from '../../src/roles/decider.ts';

/** Whether an agent removes a node that passes or fails these checks, as `.x.`; after them it passes all. */
async function isRemoved(checks: string): Promise<boolean> {
  const clock = new FakeClock();
  const node = { id: '1', name: 'node-1', address: 'node-1:9000', healthAddress: 'node-1:9001' };
  const removed: string[] = [];
  let asked = 0;
  const askHealth = async (): Promise<{ id: string; healthy: boolean }> => {
    if (checks[asked++] === 'x') throw new Error('no answer');
    return { id: node.id, healthy: true };
  };
  const deciding = {
    take: async () => true,
    beat: async () => [node],
    seenBeat: async () => '',
    evict: async () => false,
    situation: async () => ({ areas: [], nodes: [node.id], leaving: [], assignments: [] }),
    apply: async ({ removedNodes }: { removedNodes: readonly string[] }) => void removed.push(...removedNodes),
    close: async () => undefined,
  };
  const connect = async (): Promise<typeof deciding> => deciding;
  const decider = new Decider({ name: 'agent-1', connect, askHealth, prune: async () => false, clock, log: silentLogger });
  await decider.start();
  await eventually(() => (clock.advance(200), asked > checks.length + 2), { intervalMs: 1 });
  await decider.stop();
  return removed.length > 0;
}

it('a node that fails three checks in a row is removed', async () => {
  expect(await isRemoved('..xxx')).toBe(true);
});

it('a node that answers keeps its areas', async () => {
  expect(await isRemoved('.....')).toBe(false);
});
