/** What Docker and the journal of faults tell, as events. */
import type { Trouble } from '@lab/simulation/events';
import { z } from 'zod';
import type { LiveEvent } from './spans.ts';

/** A part of a line of `docker events --format '{{json .}}'`. */
export const dockerLine = z.object({
  Action: z.string(),
  timeNano: z.number(),
  Actor: z.object({ ID: z.string(), Attributes: z.record(z.string(), z.string()) }),
});
export type DockerLine = z.infer<typeof dockerLine>;

/** Of what a container was told by a signal; others are a matter of its own. */
const signals: Readonly<Record<string, string>> = { '9': 'killed', '15': 'stopped' };

/** What has happened to the container of a role, whoever did it. */
export function eventsOfDocker({ Action, timeNano, Actor: { Attributes } }: DockerLine, role: string): LiveEvent[] {
  const who = { role, atMs: Math.round(timeNano / 1e3) / 1e3 };
  const fault = (key: string, trouble?: Trouble): LiveEvent => ({ ...who, type: 'fault', key, arg: 0, message: '', trouble });
  switch (Action) {
    case 'start':
      return [{ ...who, type: 'start' }];
    case 'die':
      return [{ ...who, type: 'end', reason: reasonOf(Attributes['exitCode'] ?? '') }];
    case 'kill': {
      const word = signals[Attributes['signal'] ?? ''];
      return word === undefined ? [] : [fault(word)];
    }
    case 'pause':
      return [fault('paused', 'hung')];
    case 'unpause':
      return [{ ...who, type: 'mended', trouble: 'hung', text: 'goes on' }];
    case 'oom':
      return [{ ...who, type: 'note', text: 'is out of memory' }];
    default: {
      const health = /^health_status: (\w+)$/.exec(Action)?.[1];
      return health === undefined ? [] : [{ ...who, type: 'note', text: `is ${health}` }];
    }
  }
}

/** SIGKILL is told as 137. */
const reasonOf = (exitCode: string): string =>
  exitCode === '137' ? 'killed' : exitCode === '0' ? 'in good order' : `exit code ${exitCode}`;

/** By which means is told by who did it. */
const shortly = (what: string): string => what.replace(/(:|, by chance|, with) .*/, '');

export const journalLine = z.object({
  atMs: z.number(),
  event: z.enum(['struck', 'ended', 'down']),
  id: z.string().optional(),
  target: z.string(),
  verb: z.string().optional(),
  what: z.string(),
});
export type JournalLine = z.infer<typeof journalLine>;

/** What Docker knows nothing of. */
const troubles: Readonly<Record<string, Trouble>> = {
  cut: 'cut',
  lose: 'slow',
  slow: 'slow',
  'fill-disk': 'slow',
  clock: 'slow',
};

/** The journal of `npx nx break`: what its faults did, and when they ended. */
export class FaultJournal {
  readonly #open = new Map<string, { readonly target: string; readonly trouble: Trouble }>();

  eventsOf({ atMs, event, id, target, verb, what }: JournalLine): LiveEvent[] {
    if (event === 'down') return [];
    const who = { role: target, atMs };
    const trouble = troubles[verb ?? ''];
    if (event === 'struck') {
      if (trouble === undefined) return [];
      this.#open.set(id!, { target, trouble });
      return [{ ...who, type: 'fault', key: shortly(what), arg: 0, message: '', trouble }];
    }
    const ended =
      id === undefined
        ? [...this.#open].filter(([, open]) => open.target === target)
        : [...this.#open].filter(([each]) => each === id);
    for (const [each] of ended) this.#open.delete(each);
    return ended.map(([, open]) => ({ ...who, type: 'mended', trouble: open.trouble, text: what }));
  }
}
