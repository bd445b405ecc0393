import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyRecording, recordingOf } from '../test/made-run.ts';
import { emptyState, fold, makeModel, readyIn, statusOf, type Model, type State } from './model.ts';
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
