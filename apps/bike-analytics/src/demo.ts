/** All roles in one process on the memory broker, one run of the file-reader against them, and a check of its answers by a straight loop. */
import { ExitError } from '@lab/process';
import { connectFramed } from '@lab/protocol';
import { runClient, writeResults } from './client/program.ts';
import { clientLimits, type DemoConfig } from './config.ts';
import { openDataSet } from './client/data-files.ts';
import { queries, settingsOf, type Answers } from './domain/queries.ts';
import type { Topic } from './domain/terms.ts';
import { startEmbedded } from './embedded.ts';
import { reportText } from './client/report.ts';
import { answerStraight } from '../data/straight-loop.ts';

export async function demo(config: DemoConfig): Promise<void> {
  await openDataSet(config.data);
  const settings = settingsOf(config);
  const { watch } = config;
  await using page = watch ? await (await import('@lab/watch/demo')).openDemoPage('bike-analytics') : undefined;
  const { port, instances, stop } = await startEmbedded(config, page);
  console.error(`${instances} roles are running in this process`);
  const connect = () => connectFramed({ host: '127.0.0.1', port, limits: clientLimits });
  let looked: Promise<void> | undefined;
  const where = 'weather and stations are sent, and the first of the trips';
  const afterBatch = (topic: Topic, say: (line: string) => void): Promise<void> | undefined =>
    topic === 'trips' ? (looked ??= page?.goOn(where, { say })) : undefined;
  const { results, elapsedMs } = await runClient({ ...config, settings, connect, afterBatch }).finally(stop);
  console.log(reportText(results, settings));
  if (config.output !== undefined) await writeResults(config.output, results);
  console.error(`answered in ${(elapsedMs / 1000).toFixed(2)} s; checking by a straight loop over the same files`);
  const expected = await answerStraight(config.data, settings, config.weatherOffsetDays);
  const differences = compareAnswers(expected, results.answers);
  if (differences.length > 0) throw new ExitError(`the answers differ from the straight loop's:\n${differences.join('\n')}`);
  console.log('Checked: a straight loop over the same files gives the same answers.');
  await page?.keep();
}

/** Averages may differ in their last digits, as the straight loop adds in another order. */
const relativeErrorMax = 1e-9;

/** Where two answers differ, as paths with both values. */
export function compareAnswers(expected: Answers, actual: Answers): string[] {
  return queries.flatMap(({ name }) => differences(name, expected[name as keyof Answers], actual[name as keyof Answers]));
}

function differences(path: string, expected: unknown, actual: unknown): string[] {
  if (expected instanceof Object && actual instanceof Object) {
    const [wanted, found] = [expected, actual] as [Record<string, unknown>, Record<string, unknown>];
    return Object.keys({ ...wanted, ...found }).flatMap((key) => differences(`${path}.${key}`, wanted[key], found[key]));
  }
  const areNumbers = typeof expected === 'number' && typeof actual === 'number';
  if (areNumbers && Math.abs(expected - actual) <= relativeErrorMax * Math.abs(expected)) return [];
  if (Object.is(expected, actual)) return [];
  return [`${path}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`];
}
