/** The client: sends a job's lines in numbered batches and waits for the answer. After a crash run it again: it says the same again, and no harm is done. */
import type { Broker } from '@lab/middleware';
import { ExitError } from '@lab/process';
import { batchesOf } from '../domain/word-count.ts';
import { answers, batchCharactersMax, batches, batchesMax, decodeAnswer, encode, topology } from '../messages.ts';

export interface ReaderParts {
  broker: Pick<Broker, 'declare' | 'read' | 'publish'>;
  /** Names the lines for good: other lines under the same name would get the answer of these. */
  job: string;
  lines: readonly string[];
  /** Called when a batch is safe in the queue, with how many are, of how many. */
  onSent?: (sent: number, total: number) => void;
}

/** How often each word is in the lines. Waits for as long as it takes a counter to answer: whoever calls sets the bound. */
export async function countWords({ broker, job, lines, onSent }: ReaderParts): Promise<Record<string, number>> {
  const parts = batchesOf(lines, batchCharactersMax);
  const total = parts.length;
  if (total > batchesMax) throw new ExitError(`the text makes ${total} batches; at most ${batchesMax} are one job`);
  await broker.declare(topology);
  // Before anything is sent, so that no answer can be missed; one of an earlier try is found, too.
  const log = await broker.read(answers, 'first');
  let sent = 0;
  const send = async (lines: string[], number: number): Promise<void> => {
    await broker.publish({ routingKey: batches, body: encode({ job, number, total, lines }) });
    onSent?.(++sent, total);
  };
  // All at once: `publish` itself lets only so much be in flight.
  await Promise.all(parts.map(send));
  for await (const { body } of log) {
    const answer = decodeAnswer(body);
    if (answer.job === job) return answer.counts;
  }
  throw new Error(`the log ${answers} ended without an answer to job ${job}`);
}
