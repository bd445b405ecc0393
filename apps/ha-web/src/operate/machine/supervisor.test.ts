import { silentLogger, systemClock } from '@lab/process';
import { eventually } from '@lab/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { stopMsMax, Supervisor, type Machine, type Service } from './supervisor.ts';

const supervisors: Supervisor[] = [];
afterEach(async () => void (await Promise.all(supervisors.splice(0).map((supervisor) => supervisor.stop()))));

/** Says when it starts and when it is asked to stop, then ends; another signal can kill it. */
const obedient = 'echo "up $$"; trap "echo stopped; exit 0" TERM; while :; do sleep 0.02; done';
const service = (name: string, script: string, options: Partial<Service> = {}): Service => ({
  ...{ name, command: ['sh', '-c', script], stopSignal: 'SIGTERM', stopMs: 5_000 },
  ...options,
});

function supervise(machine: Machine) {
  const lines: string[] = [];
  const print = (name: string, line: string): void => void lines.push(`${name}: ${line}`);
  const supervisor = new Supervisor({ machine, clock: systemClock, log: silentLogger, print });
  supervisors.push(supervisor);
  const ups = (name: string): number[] =>
    lines.filter((line) => line.startsWith(`${name}: up`)).map((line) => Number(line.split(' ').at(-1)));
  const isUp = (name: string, times = 1): Promise<boolean> => eventually(() => ups(name).length === times);
  return { supervisor, lines, ups, isUp, killed: (name: string) => process.kill(ups(name).at(-1)!, 'SIGKILL') };
}

const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('a supervisor', () => {
  it('stops its stages in the reverse order of their start', async () => {
    const { supervisor, lines, isUp } = supervise([[[service('first', obedient)]], [[service('second', obedient)]]]);
    await supervisor.start();
    await Promise.all([isUp('first'), isUp('second')]);
    await supervisor.stop();
    expect(lines.filter((line) => line.endsWith('stopped'))).toEqual(['second: stopped', 'first: stopped']);
  });

  it('stops the units of a stage at the same time', async () => {
    // Each ends only when the other has been asked to.
    const waiting = (own: string, other: string): string =>
      `rm -f ${own}; echo up $$; trap "touch ${own}; until [ -e ${other} ]; do sleep 0.02; done; exit 0" TERM; while :; do sleep 0.02; done`;
    const [a, b] = [`/tmp/supervisor-${process.pid}-a`, `/tmp/supervisor-${process.pid}-b`];
    const { supervisor, isUp } = supervise([[[service('a', waiting(a, b))], [service('b', waiting(b, a))]]]);
    await supervisor.start();
    await Promise.all([isUp('a'), isUp('b')]);
    await supervisor.stop();
  });

  it('starts again what was killed, and only that where nothing needs it', async () => {
    const { supervisor, ups, isUp, killed } = supervise([[[service('killed', obedient)], [service('other', obedient)]]]);
    await supervisor.start();
    await Promise.all([isUp('killed'), isUp('other')]);
    killed('killed');
    await isUp('killed', 2);
    expect(ups('other')).toHaveLength(1);
  });

  it('stops what needs a dead service at once, and starts both again in their order', async () => {
    const { supervisor, lines, ups, isUp, killed } = supervise([[[service('base', obedient), service('needy', obedient)]]]);
    await supervisor.start();
    await Promise.all([isUp('base'), isUp('needy')]);
    killed('base');
    await Promise.all([isUp('base', 2), isUp('needy', 2)]);
    expect(lines.indexOf('needy: stopped')).toBeLessThan(lines.indexOf(`base: up ${ups('base')[1]}`));
  });

  it('leaves alone what a dead service needed', async () => {
    const { supervisor, ups, isUp, killed } = supervise([[[service('base', obedient), service('needy', obedient)]]]);
    await supervisor.start();
    await Promise.all([isUp('base'), isUp('needy')]);
    killed('needy');
    await isUp('needy', 2);
    expect(ups('base')).toHaveLength(1);
  });

  it('kills what does not stop in time, with all that it has started', async () => {
    const stubborn =
      'trap "" TERM; sh -c \'trap "" TERM; echo up $$; while :; do sleep 0.02; done\' & while :; do sleep 0.02; done';
    const { supervisor, ups, isUp } = supervise([[[service('stubborn', stubborn, { stopMs: 50 })]]]);
    await supervisor.start();
    await isUp('stubborn');
    await supervisor.stop();
    await eventually(() => !alive(ups('stubborn')[0]!));
  });

  it('kills what a dead service had started', async () => {
    const { supervisor, ups, isUp } = supervise([[[service('parent', `sh -c '${obedient}' & sleep 0.1; exit 1`)]]]);
    await supervisor.start();
    await isUp('parent', 2);
    await eventually(() => !alive(ups('parent')[0]!));
  });

  it('prepares before each start, and tries again where that or the start itself fails', async () => {
    let prepared = 0;
    const prepare = async (): Promise<void> => {
      if (++prepared === 1) throw new Error('not yet');
    };
    const { supervisor, isUp, killed } = supervise([
      [[service('prepared', obedient, { prepare })], [service('missing', '', { command: ['/no/such/file'] })]],
    ]);
    await supervisor.start();
    await isUp('prepared');
    killed('prepared');
    await isUp('prepared', 2);
    expect(prepared).toBe(3);
  });

  it('says how long stopping may take: its stages one after another, the units of a stage together', () => {
    const lasting = (stopMs: number): Service => service(`${stopMs}`, obedient, { stopMs });
    expect(stopMsMax([[[lasting(100), lasting(20)], [lasting(50)]], [[lasting(3)]]])).toBe(123);
  });
});
