import { makeMemoryRegistry } from '@lab/discovery';
import { silentLogger } from '@lab/process';
import { FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import * as config from '../../src/config.ts';
import { nextStep, type Replication, type ServerState, type Situation } from '../../src/database/domain/next-step.ts';
import { DatabaseAgent } from '../../src/database/roles/db-agent.ts';

const replication: Replication = {
  ...{ started: true, receiving: true, applying: true, received: 7, applied: 7, sign: '1', differs: false },
};
const server: ServerState = {
  ...{ bootId: 'boot-2', empty: false, epoch: 3, writable: false, semiSync: false, replicaBootId: undefined },
  ...{ waiting: 0, acknowledged: 0, position: 7, replication },
};
const record = { epoch: 3, primary: 'db-1', replicaInSync: true, replicaBootId: 'boot-2' };
/** A replica in sync, whose primary is gone. */
const orphan: Situation = {
  ...{ me: 'db-2', founder: false, contact: true, sinceContactMs: 0, asked: false, peerMissed: true, server, quietMs: 60_000 },
  ...{ record, confirmed: undefined, unconfirmedMs: 0, waitingMs: 0, replicaSilentMs: 0, replicaFit: undefined, aloneMs: 0 },
};
const step = (changes: object, of: Partial<Replication> = {}): string =>
  nextStep({ ...orphan, server: { ...server, replication: { ...replication, ...of } }, ...changes }).do;
const quiet = { noFailover: true };

describe('a database that takes over by request only', () => {
  it('does not by itself, however long its primary is gone', () => {
    expect(step(quiet)).toBe('wait');
    expect(step({ ...quiet, quietMs: 86_400_000 })).toBe('wait');
    expect(step({ noFailover: false })).toBe('stopReceiving');
  });

  it('does where an operator asks, in the same steps as any other', () => {
    expect(step({ ...quiet, asked: true })).toBe('stopReceiving');
    expect(step({ ...quiet, asked: true }, { receiving: false, applied: 6 })).toBe('wait');
    expect(step({ ...quiet, asked: true }, { receiving: false })).toBe('takeOver');
    expect(step({ ...quiet, asked: true, record: { ...record, replicaInSync: false } })).toBe('wait');
  });

  it('receives again where it is asked no more', () => {
    expect(step(quiet, { receiving: false })).toBe('receive');
  });

  it('is the primary where the record says so', () => {
    const own = { ...record, primary: 'db-2', epoch: 4, replicaInSync: false, replicaBootId: '' };
    expect(step({ ...quiet, record: own }, { receiving: false })).toBe('leaveReplication');
    const free = { ...server, replication: undefined, epoch: 3 };
    expect(step({ ...quiet, record: own, server: free })).toBe('goAlone');
  });

  it('founds the first epoch, if it is to', () => {
    const first = { ...server, epoch: 0, replication: undefined };
    expect(step({ ...quiet, founder: true, record: undefined, server: first })).toBe('found');
  });
});

/** Whether the agent of a replica whose primary is missed begins to take over. */
async function takesOver(parts: object, asked: boolean): Promise<boolean> {
  const clock = new FakeClock();
  const registry = makeMemoryRegistry({ clock, sessionTimeoutMs: 60_000 });
  await registry.connect().record('database').write(JSON.stringify(record), undefined);
  let stopped = false;
  const done = async (): Promise<void> => undefined;
  const agent = new DatabaseAgent({
    ...{ name: 'db-2', peerName: 'db-1', address: 'db-2', agentPort: 1, founder: false, clock, log: silentLogger },
    ...{ discovery: Promise.resolve(registry.connect()), door: { watched: done, close: done, open: done } },
    server: {
      ended: new Promise(() => undefined),
      close: () => undefined,
      observe: async () => (stopped ? { ...server, replication: { ...replication, receiving: false, applied: 6 } } : server),
      stopReceiving: async () => void (stopped = true),
    },
    ...{ peer: { missed: async () => true, status: () => undefined }, nowMs: () => 0, before: [] },
    ...parts,
  } as never);
  await agent.start();
  if (asked) agent.ask();
  for (let round = 0; round < 30 && !stopped; round++) await clock.advanceAsync(100);
  await agent.stop();
  return stopped;
}

it('the agent keeps to it', async () => {
  expect(await takesOver({}, false)).toBe(true);
  expect(await takesOver(quiet, false)).toBe(false);
  expect(await takesOver(quiet, true)).toBe(true);
});

it('a machine is told by the setting noFailover', () => {
  const { noFailover } = config.agent.shape as unknown as Record<string, { parse: (given: unknown) => unknown }>;
  expect(noFailover?.parse(undefined)).toBe(false);
  expect(noFailover?.parse(true)).toBe(true);
});
