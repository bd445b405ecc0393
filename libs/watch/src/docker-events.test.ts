import { describe, expect, it } from 'vitest';
import { dockerLine, eventsOfDocker, FaultJournal, journalLine } from './docker-events.ts';

/** As Docker prints it, with more than is read. */
const line = (Action: string, attributes: Record<string, string> = {}) =>
  dockerLine.parse({
    status: Action,
    id: 'x',
    Type: 'container',
    Action,
    Actor: { ID: 'x', Attributes: { name: 'lab-yours-counter-1', image: 'lab/yours', ...attributes } },
    scope: 'local',
    time: 1_700_000_000,
    timeNano: 1_700_000_000_250_000_000,
  });
const told = (action: string, attributes?: Record<string, string>) => eventsOfDocker(line(action, attributes), 'counter-1');
const who = { role: 'counter-1', atMs: 1_700_000_000_250 };
const fault = (key: string) => ({ ...who, type: 'fault', key, arg: 0, message: '', trouble: undefined });

describe('what Docker tells', () => {
  it.each([
    ['start', {}, { ...who, type: 'start' }],
    ['die', { exitCode: '137' }, { ...who, type: 'end', reason: 'killed' }],
    ['die', { exitCode: '1' }, { ...who, type: 'end', reason: 'exit code 1' }],
    ['die', { exitCode: '0' }, { ...who, type: 'end', reason: 'in good order' }],
    ['kill', { signal: '9' }, fault('killed')],
    ['kill', { signal: '15' }, fault('stopped')],
    ['pause', {}, { ...fault('paused'), trouble: 'hung' }],
    ['unpause', {}, { ...who, type: 'mended', trouble: 'hung', text: 'goes on' }],
    ['health_status: unhealthy', {}, { ...who, type: 'note', text: 'is unhealthy' }],
  ])('%s %j', (action, attributes, event) => {
    expect(told(action, attributes)).toEqual([event]);
  });

  it('is not all to be seen', () => {
    for (const action of ['exec_start: bash', 'create', 'attach', 'destroy']) expect(told(action)).toEqual([]);
    expect(told('kill', { signal: '1' })).toEqual([]);
  });
});

describe('the journal of faults', () => {
  const journal = new FaultJournal();
  const read = (atMs: number, event: string, rest: object) =>
    journal.eventsOf(journalLine.parse({ atMs, event, target: 'rabbitmq', ...rest }));

  it('tells what Docker does not see, until it ends', () => {
    expect(read(1, 'struck', { id: 'a', verb: 'pause', what: 'paused' })).toEqual([]);
    expect(read(2, 'struck', { id: 'b', verb: 'slow', what: 'slow by 200ms, with netem' })).toMatchObject([
      { type: 'fault', atMs: 2, role: 'rabbitmq', key: 'slow by 200ms', trouble: 'slow' },
    ]);
    expect(read(3, 'ended', { id: 'a', what: 'unpaused' })).toEqual([]);
    expect(read(4, 'ended', { id: 'b', what: 'healed' })).toMatchObject([
      { type: 'mended', atMs: 4, trouble: 'slow', text: 'healed' },
    ]);
    expect(read(5, 'ended', { id: 'b', what: 'healed' })).toEqual([]);
  });

  it('ends all faults of a target that another command has healed', () => {
    read(1, 'struck', { id: 'c', verb: 'cut', what: 'cut from all' });
    read(1, 'struck', { id: 'd', verb: 'fill-disk', what: 'full' });
    expect(read(2, 'ended', { what: 'healed: cut from all' })).toMatchObject([{ trouble: 'cut' }, { trouble: 'slow' }]);
  });
});
