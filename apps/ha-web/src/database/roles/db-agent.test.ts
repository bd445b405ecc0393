/** What an agent does only after a write of the record that it was decided on. */
import { makeMemoryRegistry } from '@lab/discovery';
import { silentLogger } from '@lab/process';
import { FakeClock } from '@lab/testing';
import { expect, it } from 'vitest';
import type { Replication, ServerState } from '../domain/next-step.ts';
import { DatabaseAgent } from './db-agent.ts';
import { SharedRecord } from './shared-record.ts';

const record = { epoch: 1, primary: 'db-1', replicaInSync: false, replicaBootId: '' };
const text = JSON.stringify(record);
const replicating: Replication = {
  ...{ started: true, receiving: false, applying: true, received: 7, applied: 7, sign: '1', differs: false },
};
const fresh: ServerState = {
  ...{ bootId: 'boot', empty: false, epoch: 1, writable: false, semiSync: false, replicaBootId: undefined },
  ...{ waiting: 0, acknowledged: 0, position: 7, replication: undefined },
};

/** What the agent of a replica has its server do; with `raced` somebody else writes the record between its look and its step. */
async function callsOf(state: ServerState, raced: boolean): Promise<string[]> {
  const clock = new FakeClock();
  const registry = makeMemoryRegistry({ clock, sessionTimeoutMs: 60_000 });
  const other = registry.connect().record('database');
  let version = await other.write(text, undefined);
  const calls: string[] = [];
  const act = (name: string, answer?: unknown) => async (): Promise<unknown> => (calls.push(name), answer);
  const server = {
    ended: new Promise(() => undefined),
    close: () => undefined,
    async observe() {
      if (raced) version = await other.write(text, version);
      return state;
    },
    ...{ divergence: async () => 'none', follow: act('follow'), load: act('load'), receive: act('receive') },
    ...{ discard: act('discard'), kill: act('kill') },
  };
  const done = async (): Promise<void> => undefined;
  const agent = new DatabaseAgent({
    ...{ name: 'db-2', peerName: 'db-1', address: 'db-2', agentPort: 1, founder: false, clock, log: silentLogger },
    ...{ discovery: Promise.resolve(registry.connect()), door: { watched: done, close: done, open: done }, server },
    ...{ peer: { missed: async () => false, status: () => undefined }, nowMs: () => 0, before: [] },
  } as never);
  await agent.start();
  for (let round = 0; round < 20; round++) await clock.advanceAsync(100);
  await agent.stop();
  return [...new Set(calls)];
}

it.each([
  ['follows', fresh, ['follow']],
  ['loads', { ...fresh, empty: true }, ['load']],
  ['receives again', { ...fresh, replication: replicating }, ['receive']],
  ['becomes empty', { ...fresh, replication: { ...replicating, differs: true } }, ['discard', 'kill']],
])('%s only over the record that it has seen', async (_, state, calls) => {
  expect(await callsOf(state, false)).toEqual(calls);
  expect(await callsOf(state, true)).toEqual([]);
});

it('no record is written over that was not read', async () => {
  const registry = makeMemoryRegistry({ clock: new FakeClock(), sessionTimeoutMs: 60_000 });
  const other = registry.connect().record('database');
  const version = await other.write(text, undefined);
  const shared = new SharedRecord(new FakeClock());
  shared.connected(registry.connect());
  await shared.read();
  const newer = JSON.stringify({ ...record, epoch: 2 });
  await other.write(newer, version);
  expect(await shared.write({ ...record, primary: 'db-2' })).toBe(false);
  expect((await other.read())?.text).toBe(newer);
  await shared.read();
  expect(await shared.write({ ...record, primary: 'db-2' })).toBe(true);
});
