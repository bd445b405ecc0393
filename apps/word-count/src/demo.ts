/** The whole system in one process, on the broker in memory: two counters, and the one at work is killed in the middle. */
import { makeMemoryServer } from '@lab/middleware';
import { ExitError, silentLogger } from '@lab/process';
import { wordsOf } from './domain/word-count.ts';
import { Counter } from './roles/counter.ts';
import { countWords } from './roles/reader.ts';

export async function demo(lines: readonly string[], print: (text: string) => void): Promise<void> {
  const server = makeMemoryServer();
  const brokers = [server.connect(), server.connect()];
  const counters = brokers.map((broker) => new Counter({ broker, log: silentLogger }));
  for (const counter of counters) await counter.start();
  const broker = server.connect();
  const onSent = (sent: number, total: number): void => {
    if (sent === Math.ceil(total / 2)) server.kill(brokers[0]!);
  };
  const counts = await countWords({ broker, job: 'demo', lines, onSent });
  print(topWords(counts));
  if (topWords(counts) !== topWords(straightLoop(lines))) throw new ExitError('the counts are not those of a plain loop');
  print('Checked: the counts are those of a plain loop, although the counter at work was killed halfway.\n');
  await Promise.all([broker, ...brokers].map((each) => each.close()));
}

/** What the answer must be, found without batches and messages. */
function straightLoop(lines: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of wordsOf(lines.join('\n'))) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

/** The ten words that come most often, a line each. */
export function topWords(counts: Readonly<Record<string, number>>): string {
  const byCount = Object.entries(counts).sort(([a, some], [b, others]) => others - some || (a < b ? -1 : 1));
  return byCount
    .slice(0, 10)
    .map(([word, count]) => `${String(count).padStart(8)}  ${word}\n`)
    .join('');
}
