import { describe, expect, it } from 'vitest';
import { recordingOf } from '../test/made-run.ts';
import { daysOf, firstOf, journeyOf, lineOf, shortened, storyOf, verdictLine, type Row } from './journey.ts';
import { makeModel } from './model.ts';

const model = makeModel(
  recordingOf(
    'reader starts',
    'worker-1 starts',
    'worker-2 starts',
    '1 reader publish jobs: job 1',
    '2 worker-1 <- jobs: job 1',
    '40 worker-1 fault ack #1 jobs dies before: 1500',
    '40 worker-1 dies',
    '41 worker-2 << jobs: job 1',
    '61 worker-2 append answers: job 1',
    '61 worker-2 acks jobs: job 1',
    '61 worker-2 notes has nothing to do',
    '62 reader <- answers: job 1',
    '1540 worker-1.2 starts',
  ),
);
const told = (rows: readonly Row[]): string[] =>
  rows.map(({ ms, text, detail }) => `${ms} ${text}${detail === '' ? '' : ` (${detail})`}`);

describe('the journey of a message', () => {
  it('tells who sent it, who had it and died, each try, and how long it was held', () => {
    expect(told(journeyOf(model, 'job 1'))).toEqual([
      '1 published by *reader* (to jobs)',
      '2 delivered to *worker-1* (from jobs)',
      '40 *worker-1* dies (it had not acknowledged: the message goes back)',
      '41 delivered again to *worker-2* (try 2) (from jobs)',
      '61 appended by *worker-2* (to answers)',
      '61 acknowledged by *worker-2* (held for 20 ms)',
      '62 read by *reader* (from answers)',
    ]);
  });

  it('tells of a connection that is lost while somebody has it', () => {
    const cut = makeModel(
      recordingOf(
        'a publish jobs: job 1',
        'b <- jobs: job 1',
        '5 b fault delivery #2 jobs connection lost: 3914',
        '3919 b << jobs: job 1',
        '3920 b acks jobs: job 1',
      ),
    );
    expect(told(journeyOf(cut, 'job 1'))[2]).toBe('5 *b*: connection lost, 3.91 s (what was not acknowledged goes back)');
  });

  it('ends with who died with it, where nobody got it again', () => {
    const lost = makeModel(
      recordingOf(
        'reader publish jobs: job 1',
        'worker-1 <- jobs: job 1',
        '5 other notes something',
        '9 worker-1 dies',
        'x acks jobs: ',
      ),
    );
    expect(told(journeyOf(lost, 'job 1')).at(-1)).toBe('9 *worker-1* dies (it had not acknowledged: the message goes back)');
  });
});

describe('the story of a run', () => {
  it('tells faults with what they bring, returns and notes, and no death twice', () => {
    expect(told(storyOf(model))).toEqual([
      '40 *worker-1* dies before (ack #1 jobs; back after 1.5 s)',
      '61 *worker-2* has nothing to do',
      '1540 *worker-1* is back (life 2)',
    ]);
  });

  it('tells a death with the fault that killed, also on the way of the message that it was about', () => {
    const { events, ...rest } = recordingOf('a publish jobs: job 1', '1 b <- jobs: job 1', '2 b dies', '3 c << jobs: job 1');
    const fault = {
      ms: 2,
      type: 'fault',
      role: 'b',
      life: 1,
      key: 'b.1 ack #1 jobs dies before',
      arg: 9,
      message: 'job 1',
    } as const;
    const death = events.findIndex(({ type }) => type === 'end');
    const died = makeModel({ ...rest, events: events.toSpliced(death, 0, fault) });
    expect(told(journeyOf(died, 'job 1')).slice(2)).toEqual([
      '2 *b* dies before (ack #1 jobs; back after 9 ms; it had not acknowledged: the message goes back)',
      '3 delivered again to *c* (try 2) (from jobs)',
    ]);
  });

  it('tells the kill of a container once, though two events tell it, and so do the days of who was killed', () => {
    const { events, ...rest } = recordingOf('1 a starts', '2 b starts');
    const a = { ms: 5, role: 'a', life: 1 };
    const killed = makeModel({
      ...rest,
      events: [
        ...events,
        { ...a, type: 'fault', key: 'killed', arg: 0, message: '' },
        { ...a, type: 'end', reason: 'killed' },
        { ...a, ms: 6, role: 'b', type: 'end', reason: 'killed' },
      ],
    });
    expect(told(storyOf(killed))).toEqual(['5 *a* is killed', '6 *b* dies']);
    expect(told(daysOf(killed, 0))).toEqual(['1 *a* starts', '5 *a* is killed']);
  });

  it('begins to be read at the broken promise, or at the first fault, or at its end', () => {
    expect(firstOf(model)).toBe(model.events.findIndex(({ type }) => type === 'fault'));
    const calm = recordingOf('1 a starts', '2 a notes leads');
    expect(firstOf(calm)).toBe(2);
    const promise = { ms: 3, type: 'promise', broken: 'all is well', detail: '' } as const;
    expect(firstOf({ events: [...model.events, promise, ...calm.events] })).toBe(model.events.length);
  });

  it('tells a failure that comes again all the time once, and who leads each time that it changes', () => {
    const run = ['5 a starts', '6 a notes fails to call b: away', '7 a notes leads', '8 a notes leads no more'];
    const more = ['9 a notes fails to call b: away', '10 a notes leads', '20000 a notes fails to call b: away'];
    expect(told(storyOf(makeModel(recordingOf(...run, ...more))))).toEqual([
      '6 *a* fails to call b: away',
      '7 *a* leads',
      '8 *a* leads no more',
      '10 *a* leads',
      '20000 *a* fails to call b: away',
    ]);
  });

  it('tells in one row what happens to many at the same time', () => {
    const all = ['a', 'b', 'c', 'd', 'e'].map((role) => `7 ${role} dies`);
    expect(told(storyOf(makeModel(recordingOf(...all))))).toEqual(['7 *5 processes* die (a, b, c, d, e)']);
  });
});

it('the days of a process are what it went through', () => {
  expect(told(daysOf(model, model.instance('worker-2')!))).toEqual([
    '0 *worker-2* starts',
    '41 *job 1* (again) (from jobs)',
    '61 append *job 1* (to answers)',
    '61 *worker-2* has nothing to do',
  ]);
});

it('an event in a line says who does what', () => {
  expect(model.events.slice(4, 9).map(lineOf)).toEqual([
    'reader → publish jobs: job 1',
    'worker-1 ← job 1',
    'worker-1: dies before, 1.5 s',
    'worker-1 dies',
    'worker-2 ← job 1 (again)',
  ]);
});

it('says of promises that they are kept in the end, to who has not seen it yet', () => {
  const promise = { ms: 9, type: 'promise', broken: undefined, detail: '' } as const;
  expect([false, true].map((isOver) => verdictLine(promise, isOver))).toEqual(['promises kept in the end', 'promises kept']);
  const broken = { ...promise, broken: 'Every job is done' };
  expect([false, true].map((isOver) => verdictLine(broken, isOver))).toEqual([
    'broken in the end: Every job is done',
    'broken: Every job is done',
  ]);
});

it('a name for which there is no room keeps both its ends', () => {
  const names = ['counter-1', 'filter-stations-2-1', 'x'];
  expect(names.map((name) => shortened(name, 10))).toEqual(['counter-1', 'filt…s-2-1', 'x']);
  for (let room = 3; room < 20; room++) expect(shortened(names[1]!, room)).toHaveLength(Math.min(room, names[1]!.length));
});
