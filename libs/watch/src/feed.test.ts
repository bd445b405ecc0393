import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Feed, liveEventsMax, type Update } from './feed.ts';
import { depthsMs } from './insert.ts';
import { readRecording, recordingText } from './recording.ts';
import type { LiveEvent } from './spans.ts';

const startMs = 1_700_000_000_000;
const feedOf = (...events: LiveEvent[]): Feed => {
  const feed = new Feed({ system: 'yours', startMs, tells: 'all' });
  feed.push(events);
  return feed;
};
const note = (ms: number, text = 'says', role = 'worker'): LiveEvent => ({ type: 'note', atMs: startMs + ms, role, text });
const told = (feed: Feed): string[] =>
  feed
    .recording(startMs)
    .events.map((event) => ('role' in event ? `${event.ms} ${event.role}.${event.life} ${event.type}` : event.type));

describe('a feed', () => {
  it('takes a call to an address for one to the role that serves there', () => {
    const feed = new Feed({ system: 'yours', startMs: 0, tells: 'all' });
    feed.servesAt('worker', '127.0.0.1:7');
    const call = (to: string) => ({ type: 'call', atMs: 5, role: 'reader', call: 'ask', to, message: '' }) as const;
    feed.servesAt('server', '10.0.0.1');
    feed.push([call('127.0.0.1:7'), call('127.0.0.1:8'), call('10.0.0.1:9')]);
    const { events } = feed.recording(10);
    expect(events.flatMap((event) => (event.type === 'call' ? [event.to] : []))).toEqual(['worker', '127.0.0.1:8', 'server']);
  });

  it('has its events in the order of time, whenever they come', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.integer({ min: 0, max: 50 }))), (batches) => {
        const feed = feedOf();
        for (const batch of batches) feed.push(batch.map((ms) => note(ms)));
        const { events } = feed.recording(startMs);
        expect(events.slice(1).flatMap((event) => (event.type === 'note' ? [event.ms] : []))).toEqual(
          batches.flat().sort((a, b) => a - b),
        );
        expect(readRecording(recordingText(feed.recording(startMs)), 'again').events).toHaveLength(events.length);
      }),
    );
  });

  it('leaves out what was before its start, and has what comes late where it belongs, behind what was at the same time', () => {
    const feed = feedOf(note(20, 'b'), note(-1));
    feed.push([note(10, 'a'), note(20, 'c')]);
    expect(feed.recording(startMs).events.flatMap((event) => (event.type === 'note' ? [event.text] : []))).toEqual([
      'a',
      'b',
      'c',
    ]);
  });

  it('starts a role with what is heard of it first, and again where another process says it is the role', () => {
    const by = (process: string, ms: number): LiveEvent => ({ ...note(ms), process });
    expect(told(feedOf(by('x', 5), by('y', 9), by('x', 7)))).toEqual([
      'run',
      '5 worker.1 start',
      '5 worker.1 note',
      '7 worker.1 note',
      '9 worker.2 start',
      '9 worker.2 note',
    ]);
  });

  it('counts the lives of a role by its starts, where somebody tells them', () => {
    const start = (ms: number): LiveEvent => ({ type: 'start', atMs: startMs + ms, role: 'worker' });
    const feed = feedOf(start(0), { ...note(5), process: 'x' }, start(10), { ...note(15), process: 'y' });
    feed.push([{ ...note(8), process: 'x' }]);
    expect(told(feed)).toEqual([
      'run',
      '0 worker.1 start',
      '5 worker.1 note',
      '8 worker.1 note',
      '10 worker.2 start',
      '15 worker.2 note',
    ]);
  });

  it('tells who follows it what is new, until that one has had enough', () => {
    const feed = feedOf();
    const updates: Update[] = [];
    const end = feed.follow((update) => updates.push(update));
    feed.push([note(1)]);
    feed.push([]);
    feed.pushDepths(startMs + 2, { jobs: { ready: 1, held: 2, rate: 3 } });
    end();
    feed.push([note(2)]);
    expect(updates.map(({ events, whole }) => [events.length, whole])).toEqual([
      [2, false],
      [0, false],
    ]);
    expect(feed.recording(startMs + 9).live).toEqual({
      untilMs: 9,
      tells: 'all',
      depths: [{ ms: 2, queues: { jobs: { ready: 1, held: 2, rate: 3 } } }],
      ledger: undefined,
    });
  });

  it('keeps depths for each moment of more than an hour, however often they were asked for, and then the newest', () => {
    const feed = feedOf();
    for (let ms = 0; ms <= 4_200_000; ms += 2_000) feed.pushDepths(startMs + ms, {});
    const { depths } = feed.recording(startMs).live!;
    expect(depths.length).toBeLessThanOrEqual(600);
    const pausesMs = depths.slice(1).map(({ ms }, at) => ms - depths[at]!.ms);
    expect([depths[0]!.ms, depths.at(-1)!.ms, Math.max(...pausesMs)]).toEqual([0, 4_200_000, depthsMs]);
    for (let ms = 4_202_000; ms <= 14_400_000; ms += 2_000) feed.pushDepths(startMs + ms, {});
    const last = feed.recording(startMs).live!.depths;
    expect(last.length).toBeLessThanOrEqual(600);
    expect(last[0]!.ms).toBeGreaterThan(7_200_000);
  });

  it('is bounded: away from faults and from the end messages are left out, and it says of how many events', () => {
    const feed = feedOf();
    const updates: Update[] = [];
    feed.follow((update) => updates.push(update));
    const role = 'worker';
    let ms = 0;
    const message = (): LiveEvent[] => {
      ms += 1;
      const about = { role, atMs: startMs + ms, message: `job ${ms}` };
      return [
        { ...about, type: 'call', call: 'publish', to: 'jobs' },
        { ...about, type: 'delivery', from: 'jobs', redelivered: false },
        { ...about, type: 'settled', from: 'jobs', ok: true },
      ];
    };
    for (let each = 0; each < 1_000; each++) feed.push(message());
    feed.push([{ type: 'fault', atMs: startMs + ms, role, key: 'paused', arg: 0, message: '', trouble: 'hung' }]);
    for (let each = 0; each < 15_000; each++) feed.push(message());
    const { events, sampledFrom } = feed.recording(startMs);
    expect(events.length).toBeLessThanOrEqual(liveEventsMax);
    expect(sampledFrom).toBe(16_000 * 3 + 3);
    expect(updates.filter(({ whole }) => whole).length).toBeGreaterThan(1);
    const fault = events.findIndex(({ type }) => type === 'fault');
    const places = (event: { ms: number }): boolean => event.ms > 960 && event.ms <= 1_040;
    expect(events.filter(places)).toHaveLength(80 * 3 + 1);
    expect(fault).toBeGreaterThan(0);
    expect(events.slice(-3_000).at(0)!.ms).toBe(16_000 - 999);
  });

  it('is bounded, too, where all of it would have to stay', () => {
    const feed = feedOf();
    for (let ms = 0; ms < 30_000; ms += 100) feed.push(Array.from({ length: 100 }, (_, at) => note(ms + at)));
    const { events } = feed.recording(startMs);
    expect(events.length).toBeLessThanOrEqual(liveEventsMax);
    expect([events[0]!.type, events[1]!.type, events.at(-1)!.ms]).toEqual(['run', 'start', 29_999]);
  });
});
