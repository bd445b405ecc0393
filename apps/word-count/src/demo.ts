/** The whole system in one process, on the broker in memory: two counters, and the one at work is killed in the middle. */
import { setImmediate } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { makeMemoryServer, type Broker } from '@lab/middleware';
import { traced } from '@lab/middleware/traced';
import { ExitError, silentLogger } from '@lab/process';
import { wordsOf } from './domain/word-count.ts';
import { decodeBatch, describeMessage } from './messages.ts';
import { Counter } from './roles/counter.ts';
import { countWords } from './roles/reader.ts';

export async function demo(lines: readonly string[], print: (text: string) => void, watch = false): Promise<void> {
  await using page = watch ? await (await import('@lab/watch/demo')).openDemoPage('word-count') : undefined;
  const server = makeMemoryServer();
  const seen = (role: string, broker: Broker): Broker => traced(broker, page?.tracer(role), describeMessage);
  /** Those that live; the first is at work, the others stand by. */
  const counters = new Map<string, Broker>();
  const start = async (name: string): Promise<void> => {
    const broker = server.connect();
    await new Counter({ broker: seen(name, broker), log: silentLogger }).start();
    counters.set(name, broker);
  };
  const kill = (name: string): void => {
    server.kill(counters.get(name)!);
    counters.delete(name);
  };
  for (const name of ['counter-1', 'counter-2']) {
    await start(name);
    page?.breakable(name, { kill: () => kill(name), start: () => start(name) });
  }
  const killed = Promise.withResolvers<void>();
  const strike = async (): Promise<void> => {
    // By then the counter at work has what was sent.
    await setImmediate();
    await page?.goOn('half of the batches are sent; the demo will kill the counter that has them');
    const [atWork] = counters.keys();
    if (atWork === undefined) return;
    page?.killed(atWork);
    kill(atWork);
  };
  const broker = seen('reader', server.connect());
  const halfway: Pick<Broker, 'declare' | 'read' | 'publish'> = {
    declare: (topology) => broker.declare(topology),
    read: (log, from) => broker.read(log, from),
    async publish(message) {
      const { number, total } = decodeBatch(Buffer.from(message.body));
      if (number >= total / 2) await killed.promise;
      await broker.publish(message);
    },
  };
  const onSent = (sent: number, total: number): void => {
    if (sent === Math.ceil(total / 2)) strike().then(killed.resolve, killed.reject);
  };
  const counts = await countWords({ broker: halfway, job: 'demo', lines, onSent });
  print(topWords(counts));
  if (!isDeepStrictEqual(counts, plainLoop(lines))) throw new ExitError('the counts are not those of a plain loop');
  print('Checked: the counts are those of a plain loop, although the counter at work was killed halfway.\n');
  await page?.keep();
}

/** What the answer must be, found without batches and messages. */
function plainLoop(lines: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const word of wordsOf(lines.join('\n'))) counts.set(word, (counts.get(word) ?? 0) + 1);
  return Object.fromEntries(counts);
}

/** The ten words that come most often, a line each. */
export function topWords(counts: Readonly<Record<string, number>>): string {
  const byCount = Object.entries(counts).sort(([a, some], [b, others]) => others - some || (a < b ? -1 : 1));
  return byCount
    .map(([word, count]) => `${String(count).padStart(8)}  ${word}\n`)
    .slice(0, 10)
    .join('');
}
