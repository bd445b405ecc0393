/** The whole system in one process, on the broker in memory: two counters, and the one at work is killed in the middle. */
import { isDeepStrictEqual } from 'node:util';
import { makeMemoryServer } from '@lab/middleware';
import { ExitError, silentLogger } from '@lab/process';
import { wordsOf } from './domain/word-count.ts';
import { Counter } from './roles/counter.ts';
import { countWords } from './roles/reader.ts';

export async function demo(lines: readonly string[], print: (text: string) => void): Promise<void> {
  const server = makeMemoryServer();
  const [first, second, broker] = [server.connect(), server.connect(), server.connect()];
  for (const each of [first, second]) await new Counter({ broker: each, log: silentLogger }).start();
  const onSent = (sent: number, total: number): void => (sent === Math.ceil(total / 2) ? server.kill(first) : undefined);
  const counts = await countWords({ broker, job: 'demo', lines, onSent });
  print(topWords(counts));
  if (!isDeepStrictEqual(counts, plainLoop(lines))) throw new ExitError('the counts are not those of a plain loop');
  print('Checked: the counts are those of a plain loop, although the counter at work was killed halfway.\n');
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
