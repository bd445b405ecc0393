/**
 * What happens in a run, as events: one JSON object for each, one line for each in a file. Version 1; a reader refuses other versions, and ignores fields and types that it does not know.
 * The first line of a file is a `run`. The same run has the same events, which is how determinism is tested.
 */
import { createHash } from 'node:crypto';
import type { KindName } from './faults.ts';
import type { Scenario } from './system.ts';

export const eventsVersion = 1;

/** What is wrong with a process that lives. */
export type Trouble = 'hung' | 'asleep' | 'cut' | 'slow';

export type SimulationEvent = { readonly ms: number } & (
  | {
      readonly type: 'run';
      readonly version: number;
      readonly system: string;
      readonly seed: number | undefined;
      /** What it takes to run it again, with its faults or with others; which kinds there are. Only of a simulation. */
      readonly scenario?: Omit<Scenario, 'faults'> | undefined;
      readonly kinds?: readonly KindName[] | undefined;
    }
  /** A process starts, for the `life`th time. */
  | { readonly type: 'start'; readonly role: string; readonly life: number }
  /** It has ended: killed by a fault, or for a reason of its own. */
  | { readonly type: 'end'; readonly role: string; readonly life: number; readonly reason: string }
  /** A call has taken effect: a message is published or appended, a record written. `message` is what it says, in the app's words; the same words are the same message. */
  | {
      readonly type: 'call';
      readonly role: string;
      readonly life: number;
      readonly call: string;
      readonly to: string;
      readonly message: string;
      /** Where faults may strike, as `publish #3`: see `placeOf`. */
      readonly at?: string | undefined;
    }
  /** A message or a log's entry reaches a process. */
  | {
      readonly type: 'delivery';
      readonly role: string;
      readonly life: number;
      readonly from: string;
      readonly message: string;
      readonly redelivered: boolean;
      readonly at?: string | undefined;
    }
  /** The process has acknowledged it (`ok`), or its handler failed. */
  | {
      readonly type: 'settled';
      readonly role: string;
      readonly life: number;
      readonly from: string;
      readonly message: string;
      readonly ok: boolean;
      readonly at?: string | undefined;
    }
  /** A fault strikes. */
  | {
      readonly type: 'fault';
      readonly role: string;
      readonly life: number;
      readonly key: string;
      readonly arg: number;
      readonly message: string;
      /** What it does until it is mended: of a system that runs, where nobody knows beforehand when that is. */
      readonly trouble?: Trouble | undefined;
    }
  /** A fault ends that has such a trouble. */
  | { readonly type: 'mended'; readonly role: string; readonly life: number; readonly trouble: Trouble; readonly text: string }
  /** What an app wants to be seen: a view, a leader, an answer. */
  | { readonly type: 'note'; readonly role: string; readonly life: number; readonly text: string }
  /** The end of the run: all promises kept, or the one that was broken. */
  | { readonly type: 'promise'; readonly broken: string | undefined; readonly detail: string }
);

/** An event before it has its time. */
export type UntimedEvent = SimulationEvent extends infer Event ? (Event extends unknown ? Omit<Event, 'ms'> : never) : never;

/** One number for all events so far: two runs that differ anywhere differ in it. */
export function digestOf(events: readonly SimulationEvent[]): string {
  return createHash('sha256').update(eventLines(events)).digest('hex');
}

/** As a file: JSON lines. */
export const eventLines = (events: readonly SimulationEvent[]): string =>
  events.map((event) => `${JSON.stringify(event)}\n`).join('');
