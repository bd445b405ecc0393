import { describe, expect, it } from 'vitest';
import { recordingOf } from '../test/made-run.ts';
import { flowOf } from './layout.ts';
import { makeModel } from './model.ts';
import { tracksOf } from './page/tracks.ts';
import { makeScale } from './scale.ts';

const model = makeModel(
  recordingOf(
    'reader starts',
    'worker-1 starts',
    'worker-2 starts',
    'reader publish jobs: ',
    'reader publish jobs: ',
    '1 worker-1 <- jobs: ',
    '1 worker-1 <- jobs: ',
    '2 worker-1 fault x #1 jobs pauses: 600',
    '3 worker-1 acks jobs: ',
    '900 worker-1 dies',
    '901 worker-2 << jobs: ',
    '902 worker-2 notes leads, epoch 2',
    '903 worker-2 acks jobs: ',
    '1500 worker-1.2 starts',
  ),
);
const scale = makeScale(model.events);
const tracks = tracksOf(model, flowOf(model), scale);
const msOf = (at: number): number => Math.round(scale.msAt(at));
const spans = (all: readonly { lane: number; from: number; to: number }[]): string[] =>
  all.map(({ lane, from, to }) => `${model.instances[tracks.order[lane]!]!.name} ${msOf(from)}-${msOf(to)}`);

describe('the tracks of the lanes', () => {
  it('have work from a delivery to its acknowledgement, or to the death of who had it, however alike messages are', () => {
    expect(spans(tracks.works)).toEqual(['worker-1 1-3', 'worker-1 1-900', 'worker-2 901-903']);
  });

  it('have an arrow from who died to who gets its message again', () => {
    const [again] = tracks.arrows.filter(({ kind }) => kind === 'again');
    expect([again?.from, again?.to].map((end) => spans([{ ...end!, from: end!.at, to: end!.at }])[0])).toEqual([
      'worker-1 900-900',
      'worker-2 901-901',
    ]);
  });

  it('have the dead, the hung, who leads, and silences', () => {
    expect(spans(tracks.dead)).toEqual(['worker-1 900-1500']);
    expect(spans(tracks.troubled)).toEqual(['worker-1 2-602']);
    expect(spans(tracks.leading)).toEqual(['worker-2 902-1500']);
    expect(tracks.silences.map(({ ms }) => ms)).toEqual([897, 597]);
  });
});
