import { describe, expect, it } from 'vitest';
import { nextStep, type Replication, type ServerState, type Situation } from './next-step.ts';

const replication: Replication = {
  ...{ started: true, receiving: true, applying: true, received: 7, applied: 7, sign: '1', differs: false },
};
const server: ServerState = {
  ...{ bootId: 'boot-2', empty: false, epoch: 3, writable: false, semiSync: false, replicaBootId: undefined },
  ...{ waiting: 0, acknowledged: 0, position: 7, replication },
};
/** A replica in sync, whose primary is gone. */
const orphan: Situation = {
  ...{ me: 'db-2', founder: false, contact: true, sinceContactMs: 0, asked: false, peerMissed: true, server, quietMs: 5_000 },
  record: { epoch: 3, primary: 'db-1', replicaInSync: true, replicaBootId: 'boot-2' },
  ...{ confirmed: undefined, unconfirmedMs: 0, waitingMs: 0, replicaSilentMs: 0, replicaFit: undefined, aloneMs: 0 },
};
const after = (changes: Partial<Replication>, situation: Partial<Situation> = {}): string =>
  nextStep({ ...orphan, ...situation, server: { ...server, replication: { ...replication, ...changes } } }).do;

describe('a replica whose primary is gone', () => {
  it('stops receiving before it applies the rest, and takes over when it has', () => {
    expect(after({})).toBe('stopReceiving');
    expect(after({ receiving: false, applied: 6 })).toBe('wait');
    expect(after({ receiving: false })).toBe('takeOver');
  });

  it('does not take over in another life of its server than the record names', () => {
    const record = { ...orphan.record!, replicaBootId: 'boot-1' };
    expect(after({ receiving: false }, { record })).toBe('receive');
    expect(after({}, { record })).toBe('wait');
  });
});

describe('a replica that does not receive', () => {
  const calm = { peerMissed: false, quietMs: 0 };

  it('receives again while it applies', () => {
    expect(after({ receiving: false }, calm)).toBe('receive');
  });

  it('does not with both threads stopped, for that drops what it has received', () => {
    expect(after({ receiving: false, applying: false }, calm)).toBe('wait');
  });
});
