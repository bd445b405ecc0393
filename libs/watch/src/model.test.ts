import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyRecording, recordingOf } from '../test/made-run.ts';
import { depthText, holdsText } from './journey.ts';
import { depthOf, emptyState, fold, makeModel, readyIn, statusOf, type Model, type State } from './model.ts';
import type { Recording } from './recording.ts';
import { makeScale } from './scale.ts';

/** The dumb twin: everything from the beginning. */
function folded(model: Model, count: number): State {
  const state = emptyState(model);
  for (const [at, event] of model.events.slice(0, count).entries()) fold(state, event, at, model);
  return state;
}

describe('the state at any moment', () => {
  it('is what all events before it make, however one got there', () => {
    fc.assert(
      fc.property(anyRecording, fc.array(fc.nat(), { minLength: 1, maxLength: 12 }), (recording, jumps) => {
        const model = makeModel(recording);
        for (const jump of jumps) {
          const count = jump % (model.events.length + 1);
          expect(model.stateAt(count)).toEqual(folded(model, count));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('does not hang on what comes later: what is appended changes no position', () => {
    fc.assert(
      fc.property(anyRecording, fc.nat(), ({ events }, cut) => {
        const count = cut % (events.length + 1);
        const [whole, part] = [makeScale(events), makeScale(events.slice(0, count))];
        expect(part.positions).toEqual(whole.positions.slice(0, count));
      }),
      { numRuns: 60 },
    );
  });

  it('is found by time and by position alike', () => {
    fc.assert(
      fc.property(anyRecording, fc.nat(100_000), ({ events }, ms) => {
        const scale = makeScale(events);
        expect(scale.countAt(scale.positionOf(ms))).toBe(events.filter((event) => event.ms <= ms).length);
        for (const [at, position] of scale.positions.entries()) {
          expect(scale.countAt(position)).toBe(at + 1);
          expect(scale.msAt(position)).toBe(events[at]!.ms);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('a queue', () => {
  const model = makeModel(
    recordingOf(
      'reader starts',
      'worker-1 starts',
      'reader publish jobs: job 1',
      'reader publish jobs: job 2',
      '5 worker-1 <- jobs: job 1',
      '5 worker-1 <- jobs: job 2',
      '6 worker-1 acks jobs: job 1',
      '7 worker-1 dies',
      '9 worker-1.2 starts',
      '9 worker-1.2 << jobs: job 2',
      '9 worker-1.2 fails jobs: job 2',
    ),
  );
  const depths = Array.from({ length: model.events.length + 1 }, (_, count) => {
    const { queues } = model.stateAt(count);
    return `${readyIn(queues[0]!)}+${queues[0]!.held}`;
  });

  it('has what is ready and what is held; what a dead process held is ready again', () => {
    expect(depths).toEqual(['0+0', '0+0', '0+0', '0+0', '1+0', '2+0', '1+1', '0+2', '0+1', '1+0', '1+0', '0+1', '1+0']);
  });

  it('takes from an exchange what comes out of it with the same words', () => {
    const exchange = makeModel(
      recordingOf('a publish news/all: hello', 'b <- news.b: hello', 'c <- news.c: hello', 'b acks news.b: hello'),
    );
    expect(exchange.routes('news/all')).toEqual([exchange.queue('news.b'), exchange.queue('news.c')]);
  });

  it('is no deeper for a delivery that is told before its call', () => {
    const early = makeModel(recordingOf('worker-1 <- jobs: job 1', 'worker-1 acks jobs: job 1', 'reader publish jobs: job 1'));
    expect([1, 2, 3, 4].map((count) => readyIn(early.stateAt(count).queues[0]!))).toEqual([0, 0, 0, 0]);
  });

  it('of one life is there as long as that life', () => {
    const own = makeModel(
      recordingOf(
        'a publish all/: x',
        'b consume all.b.1',
        'a publish all/: go',
        'b <- all.b.1: go',
        'a publish all/: go',
        'b dies',
      ),
    );
    expect([2, 4, 5, 6, 7].map((count) => readyIn(own.stateAt(count).queues[0]!))).toEqual([0, 1, 0, 1, 0]);
  });
});

describe('a depth', () => {
  const recording = recordingOf('a publish jobs: job 1', '1 a publish jobs: job 2', '2 b <- jobs: job 1', '3 a append log: x');
  const depthIn = (parts: Partial<Recording>, ms: number, name = 'jobs'): string => {
    const model = makeModel({ ...recording, ...parts });
    const queue = model.queue(name)!;
    const depth = depthOf(model, model.stateAt(model.events.length), [queue], ms);
    return `${depthText(depth, model.queues[queue]!.isLog)}${depth?.rate === undefined ? '' : `, ${depth.rate} a second`}`;
  };
  const live = {
    untilMs: 60_000,
    tells: 'some',
    depths: [{ ms: 5_000, queues: { jobs: { ready: 70, held: 8, rate: 9 } } }],
  } as const;

  it('is counted from the events where they tell of all messages', () => {
    expect([depthIn({}, 4), depthIn({}, 4, 'log')]).toEqual(['1 ready, 1 held', 'log of 1 entries']);
    expect(depthIn({ live: { ...live, tells: 'all', depths: [] } }, 4)).toBe('1 ready, 1 held');
  });

  it('is not known from the messages of a sample, until the broker was asked, and again when that was long ago', () => {
    expect([4, 4_999, 5_000, 15_000, 15_001].map((ms) => depthIn({ live }, ms))).toEqual([
      'depth not known',
      'depth not known',
      '70 ready, 8 held, 9 a second',
      '70 ready, 8 held, 9 a second',
      'depth not known',
    ]);
    expect([4, 5_000].map((ms) => depthIn({ live }, ms, 'log'))).toEqual(['depth not known', 'log of 0 entries, 0 a second']);
    expect([holdsText(2, { ...recording, live }), holdsText(2, recording)]).toEqual(['at work', 'holds 2']);
  });

  it('is about so where events were left out', () => {
    expect([depthIn({ sampledFrom: 9 }, 4), depthIn({ sampledFrom: 9 }, 4, 'log')]).toEqual([
      '~1 ready, ~1 held',
      'log of ~1 entries',
    ]);
  });
});

describe('an instance', () => {
  const model = makeModel(
    recordingOf(
      'db-1 starts',
      'db-2 starts',
      '10 db-1 notes serves clients',
      '20 db-1 fault observe #1 mariadb pauses: 50',
      '90 db-2 notes serves clients',
      '95 db-2 dies',
    ),
  );
  const at = (count: number, ms: number) => model.stateAt(count).instances.map((each) => statusOf(each, ms));

  it('hangs as long as its fault says, lives again, and dies', () => {
    expect([at(1, 0), at(3, 0), at(5, 69), at(5, 71), at(7, 95)]).toEqual([
      ['absent', 'absent'],
      ['up', 'up'],
      ['hung', 'up'],
      ['up', 'up'],
      ['up', 'dead'],
    ]);
  });

  it('leads from when it says so until another of its group does, or its end', () => {
    const leaders = [3, 4, 6, 7].map((count) => model.stateAt(count).instances.map(({ leads }) => leads));
    expect(leaders).toEqual([
      [false, false],
      [true, false],
      [false, true],
      [false, false],
    ]);
  });

  const leadersOf = (run: Model): boolean[] => run.stateAt(run.events.length).instances.map(({ leads }) => leads);
  // The words of the apps, as their spans have them.
  it.each(['serves clients', 'decides', 'leads, epoch 3'])('leads where it says: %s', (text) => {
    expect(leadersOf(makeModel(recordingOf('a-1 starts', `1 a-1 notes ${text}`)))).toEqual([true]);
  });

  it.each(['closes to clients', 'decides no more', 'leads no more'])('does not lead any more where it says: %s', (text) => {
    expect(leadersOf(makeModel(recordingOf('a-1 starts', '1 a-1 notes leads, epoch 1', `2 a-1 notes ${text}`)))).toEqual([false]);
  });

  it('does not lead its like where it leads those who write the log of a group', () => {
    expect(leadersOf(makeModel(recordingOf('worker-1 starts', '1 worker-1 notes leads images, epoch 2')))).toEqual([false]);
  });

  it('gets messages from the process that sent them, or of a redelivery from nobody', () => {
    const { flights } = makeModel(
      recordingOf(
        'reader publish jobs: job 1',
        'worker-1 <- jobs: job 1',
        'worker-1 dies',
        'worker-2 << jobs: job 1',
        'worker-2 acks jobs: job 1',
        'worker-2 send reader: done',
      ),
    );
    expect(flights.map(({ call, delivery, from, to, redelivered }) => [call, delivery, from, to, redelivered])).toEqual([
      [1, 2, 0, 1, false],
      [undefined, 4, undefined, 2, true],
      [6, 6, 2, 0, false],
    ]);
  });
});
