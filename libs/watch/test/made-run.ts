/** A run that was made up, for tests: a reader sends jobs through a queue to two workers, who write into a log that the reader reads. */
import type { SimulationEvent, UntimedEvent } from '@lab/simulation/events';
import fc from 'fast-check';
import type { Recording } from '../src/recording.ts';

/** Of these words, with a ms where the first word is a number: `20 worker-1.2 <- jobs: job 3`. */
export function recordingOf(...lines: string[]): Recording {
  const events: SimulationEvent[] = [{ ms: 0, type: 'run', version: 1, system: 'yours', seed: 3 }];
  for (const line of lines) {
    const [, ms = '0', name = '', life = '1', rest = ''] = /^(?:(\d+) )?([\w-]+)(?:\.(\d+))? (.*)$/.exec(line) ?? [];
    events.push({ ms: Number(ms), ...eventOf(name, Number(life), rest) });
  }
  return { system: 'yours', seed: 3, events };
}

function eventOf(role: string, life: number, words: string): UntimedEvent {
  const [, verb = '', rest = ''] = /^(\S+) ?(.*)$/.exec(words) ?? [];
  const [place = '', message = ''] = rest.split(': ');
  const who = { role, life };
  switch (verb) {
    case 'starts':
      return { type: 'start', ...who };
    case 'dies':
      return { type: 'end', ...who, reason: 'killed' };
    case '<-':
      return { type: 'delivery', ...who, from: place, message, redelivered: false };
    case '<<':
      return { type: 'delivery', ...who, from: place, message, redelivered: true };
    case 'acks':
    case 'fails':
      return { type: 'settled', ...who, from: place, message, ok: verb === 'acks' };
    case 'notes':
      return { type: 'note', ...who, text: rest };
    case 'fault':
      return { type: 'fault', ...who, key: `${role}.${life} ${place}`, arg: Number(message || 0), message: '' };
    default:
      return { type: 'call', ...who, call: verb, to: place, message };
  }
}

const roles = ['reader', 'worker-1', 'worker-2'];
const kinds = [
  'starts',
  'dies',
  'publish jobs',
  'publish all/x',
  'append answers',
  '<- jobs',
  '<< jobs',
  '<- answers',
  '<- all.worker-1.1',
  'acks jobs',
  'fails jobs',
];
const more = [
  'elect group',
  'remove jobs',
  'notes serves clients',
  'fault publish #1 jobs pauses: 30',
  'fault publish #1 jobs broker loses disk: 9',
];

/** Any events in any order, also those that no system would have. */
export const anyRecording: fc.Arbitrary<Recording> = fc
  .array(
    fc.record({
      pauseMs: fc.constantFrom(0, 0, 0, 1, 40, 3_000),
      role: fc.constantFrom(...roles),
      kind: fc.constantFrom(...kinds, ...more),
      job: fc.integer({ min: 1, max: 5 }),
    }),
    { maxLength: 700 },
  )
  .map((each) => {
    let ms = 0;
    return recordingOf(
      ...roles.map((role) => `${role} starts`),
      'worker-1 consume jobs',
      ...each.map(({ pauseMs, role, kind, job }) => {
        ms += pauseMs;
        return `${ms} ${role} ${kind}${/^(publish|append|<|acks|fails)/.test(kind) ? `: job ${job}` : ''}`;
      }),
    );
  });
