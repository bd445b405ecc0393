/** What Prometheus' text says of queues and of roles. */
import type { Depths } from './recording.ts';

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Each line that is a number. */
export function samplesIn(text: string): Sample[] {
  return [...text.matchAll(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/gm)].map(([, name, labels = '', value]) => ({
    name: name!,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, said]) => [key!, said!])),
    value: Number(value),
  }));
}

/** What the libraries keep in the broker for themselves. */
const ownQueues = 'lab.';

/** Counted since the broker's start. */
interface Count {
  readonly atMs: number;
  readonly delivered: ReadonlyMap<string, number>;
}

/** Depths of queues and how many messages a second come out of them, from one text of `rabbitmq_prometheus` to the next. */
export class QueueCounts {
  #before: Count | undefined;

  /** Of queues in which there is something, or that give something. */
  next(text: string, atMs: number): Depths['queues'] {
    const queues = new Map<string, { ready: number; held: number; rate: number }>();
    const delivered = new Map<string, number>();
    const of = (name: string): { ready: number; held: number; rate: number } => {
      const own = queues.get(name) ?? { ready: 0, held: 0, rate: 0 };
      queues.set(name, own);
      return own;
    };
    for (const { name, labels, value } of samplesIn(text)) {
      const queue = labels['queue'];
      if (queue === undefined || queue.startsWith(ownQueues)) continue;
      if (name.endsWith('_queue_messages_ready')) of(queue).ready += value;
      else if (name.endsWith('_queue_messages_unacked')) of(queue).held += value;
      else if (/_channel_(messages_delivered|messages_delivered_ack|get|get_ack)_total$/.test(name))
        delivered.set(queue, (delivered.get(queue) ?? 0) + value);
    }
    const seconds = (atMs - (this.#before?.atMs ?? atMs)) / 1_000;
    for (const [queue, count] of delivered) {
      // A channel that is closed takes its counts with it.
      const more = count - (this.#before?.delivered.get(queue) ?? count);
      if (seconds > 0 && more > 0) of(queue).rate = Math.round((more / seconds) * 10) / 10;
    }
    this.#before = { atMs, delivered };
    return Object.fromEntries([...queues].filter(([, { ready, held, rate }]) => ready + held + rate > 0));
  }
}

/** What every process counts. */
const usual = /^(process|nodejs)_/;
const metricsMax = 40;

/** A role's own numbers, summed over their labels; of a histogram how many there were. */
export function ownMetrics(text: string): Record<string, number> {
  const sums = new Map<string, number>();
  for (const { name, value } of samplesIn(text))
    if (!usual.test(name) && !/_(bucket|sum)$/.test(name)) sums.set(name, (sums.get(name) ?? 0) + value);
  return Object.fromEntries([...sums].slice(0, metricsMax));
}
