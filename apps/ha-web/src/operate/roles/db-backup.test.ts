import { silentLogger } from '@lab/process';
import { FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { DatabaseBackup } from './db-backup.ts';

function hosted(dumps: readonly ('made' | 'failed')[], hasDump: boolean) {
  const clock = new FakeClock();
  const trace: string[] = [];
  const results = [...dumps];
  let night: () => void = () => undefined;
  let connection = Promise.withResolvers<void>();
  let miss: () => void = () => undefined;
  const role = new DatabaseBackup({
    dump: async () => {
      const result = results.shift()!;
      trace.push(`dump ${result}`);
      if (result === 'failed') throw new Error('no database answers');
    },
    hasDump: async () => hasDump,
    follow: (missed) => {
      miss = missed;
      trace.push('follow');
      connection = Promise.withResolvers<void>();
      return { ended: connection.promise, stop: () => connection.resolve() };
    },
    daily: (run) => {
      night = run;
      return () => (night = () => undefined);
    },
    clock,
    log: silentLogger,
  });
  return {
    role,
    clock,
    trace,
    night: () => night(),
    miss: () => miss(),
    lose: () => connection.reject(new Error('the connection broke')),
  };
}

describe('DatabaseBackup', () => {
  it('makes a dump at once where there is none, and each night', async () => {
    const { role, clock, trace, night } = hosted(['made', 'made'], false);
    await role.start();
    await clock.advanceAsync(0);
    night();
    expect(trace).toEqual(['dump made', 'follow', 'dump made']);
    await role.stop();
  });

  it('tries a dump that failed again after a minute', async () => {
    const { role, clock, trace, night } = hosted(['failed', 'made'], true);
    await role.start();
    night();
    await clock.advanceAsync(59_999);
    expect(trace).toEqual(['follow', 'dump failed']);
    await clock.advanceAsync(1);
    expect(trace).toEqual(['follow', 'dump failed', 'dump made']);
    await role.stop();
  });

  it('follows the next primary a second after it lost one, and nobody after it was stopped', async () => {
    const { role, clock, trace, lose } = hosted([], true);
    await role.start();
    lose();
    await clock.advanceAsync(1_000);
    expect(trace).toEqual(['follow', 'follow']);
    await role.stop();
    await clock.advanceAsync(10_000);
    expect(trace).toEqual(['follow', 'follow']);
  });

  it('makes a dump at once where changes are not to be had anymore', async () => {
    const { role, clock, trace, miss } = hosted(['made'], true);
    await role.start();
    miss();
    await clock.advanceAsync(0);
    expect(trace).toEqual(['follow', 'dump made']);
    await role.stop();
  });
});
