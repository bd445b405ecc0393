import type { SimulationEvent } from '@lab/simulation/events';
import { describe, expect, it } from 'vitest';
import { readRecording, recordingText, sampleRecording, type Recording } from './recording.ts';

const run = '{"ms":0,"type":"run","version":1,"system":"yours","seed":3}';
const read = (...lines: string[]): Recording => readRecording(lines.join('\n'), 'run.jsonl');

describe('a file of events', () => {
  it('is read, without the types that nobody knows yet', () => {
    const recording = read(
      run,
      '{"ms":1,"type":"start","role":"worker","life":1,"colour":"red"}',
      '{"ms":1,"type":"weather"}',
      '',
    );
    expect(recording).toMatchObject({ system: 'yours', seed: 3 });
    expect(recording.events.map(({ type }) => type)).toEqual(['run', 'start']);
    expect(readRecording(recordingText(recording), 'again')).toEqual(recording);
  });

  it.each([
    ['text that is no JSON', ['# Report'], /^run\.jsonl:1: no JSON: "# Report"/],
    ['another file of JSON', ['{"format":"lab-faults"}'], /:1: the first line says undefined, not "run"/],
    ['nothing', [''], /:1: it is empty/],
    ['another version', [run.replace('"version":1', '"version":2')], /:1: version 2, and only 1/],
    ['an event without its role', [run, '{"ms":1,"type":"start","life":1}'], /:2: no event: role: /],
    [
      'time that goes back',
      [run, '{"ms":5,"type":"promise","detail":""}', '{"ms":4,"type":"promise","detail":""}'],
      /:3: 4 ms, after 5 ms/,
    ],
  ])('that is %s is an error that names file, line and way out', (_, lines, message) => {
    expect(() => read(...lines)).toThrow(message);
    expect(() => read(...lines)).toThrow(/"npx nx simulate APP --seed N --events FILE" writes such a file$/);
  });
});

/** Many messages, and a fault in the middle that touches one of them. */
function longRecording(messages: number): Recording {
  const worker = { role: 'worker', life: 1 };
  const events: SimulationEvent[] = [
    { ms: 0, type: 'run', version: 1, system: 'yours', seed: 3 },
    { ms: 0, type: 'start', ...worker },
  ];
  for (let job = 0; job < messages; job++) {
    const message = `job ${job}`;
    events.push({ ms: job, type: 'call', ...worker, call: 'publish', to: 'jobs', message });
    if (job === messages / 2)
      events.push({ ms: job, type: 'fault', ...worker, key: 'worker.1 publish #1 jobs late', arg: 5, message: 'job 7' });
    events.push({ ms: job, type: 'delivery', ...worker, from: 'jobs', message, redelivered: false });
    events.push({ ms: job, type: 'settled', ...worker, from: 'jobs', message, ok: true });
  }
  events.push({ ms: messages, type: 'promise', broken: 'Every job is done', detail: 'job 3 is not' });
  return { system: 'yours', seed: 3, events };
}

describe('a recording that is too large', () => {
  const recording = longRecording(5_000);
  const sample = sampleRecording(recording, 300_000);

  it('stays as it is where it fits', () => {
    expect(sampleRecording(recording, 10_000_000)).toBe(recording);
  });

  it('is sampled to what fits, and says of how many', () => {
    expect(recordingText(sample).length).toBeLessThan(300_000);
    expect(sample.sampledFrom).toBe(recording.events.length);
    expect(readRecording(recordingText(sample), 'again').sampledFrom).toBe(recording.events.length);
  });

  it('keeps all around faults, all of the messages that they touch, and the end', () => {
    const at = recording.events.findIndex(({ type }) => type === 'fault');
    for (const event of recording.events.slice(at - 100, at + 100)) expect(sample.events).toContain(event);
    for (const event of recording.events.slice(-100)) expect(sample.events).toContain(event);
    for (const event of recording.events)
      if ('message' in event && event.message === 'job 7') expect(sample.events).toContain(event);
  });

  it('keeps of each message all or nothing', () => {
    const counts = Map.groupBy(sample.events, (event) => ('message' in event && event.type !== 'fault' ? event.message : ''));
    counts.delete('');
    expect([...counts].filter(([, events]) => events.length !== 3)).toEqual([]);
    expect(counts.size).toBeGreaterThan(300);
  });
});
