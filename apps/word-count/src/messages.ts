/** The wire contract: what travels, and through what. */
import { PoisonError, type Topology } from '@lab/middleware';
import { z } from 'zod';

export const batches = 'word-count.counter.batches';
export const answers = 'word-count.answers';

/** One queue of work and one log of answers. One counter is active, the others stand by. */
export const topology: Topology = {
  queues: [{ name: `${batches}.dead` }, { name: batches, singleActiveConsumer: true, deadLetterQueue: `${batches}.dead` }],
  logs: [{ name: answers }],
};

/** RabbitMQ lets one consumer hold 65,535 deliveries, and a job is held until it is answered; the rest is for repeats. */
export const batchesMax = 60_000;
/** So many batches of so many characters are what one string of Node holds, and so what a reader can read. */
export const batchCharactersMax = 8 * 1024;

/** (job, number) names a batch for good: a repeat is known by it. */
const batch = z.object({
  job: z.string(),
  number: z.int().min(0).max(batchesMax),
  /** How many batches the job has: what tells a counter when it has all. */
  total: z.int().min(1).max(batchesMax),
  lines: z.array(z.string()),
});
export type Batch = z.infer<typeof batch>;

const answer = z.object({ job: z.string(), counts: z.record(z.string(), z.int()) });
export type Answer = z.infer<typeof answer>;

export const encode = (message: Batch | Answer): Buffer => Buffer.from(JSON.stringify(message));
export const decodeBatch = (body: Buffer): Batch => decode(batch, body);
export const decodeAnswer = (body: Buffer): Answer => decode(answer, body);

/** In a few words, for traces: whose batch or answer, by the end of the job's name. It stands first; lines and counts are not read. */
export function describeMessage(body: Uint8Array): string {
  const start = Buffer.from(body.buffer, body.byteOffset, Math.min(body.byteLength, 200)).toString();
  const [, job = '', number] = /^\{"job":"([^"]*)"(?:,"number":(\d+))?/.exec(start) ?? [];
  return `${number === undefined ? 'answer' : `batch ${number}`} of ${job.slice(-6)}`;
}

/** What cannot be read now cannot be read later: it is poison, and leaves the queue for the dead letters. */
function decode<T>(schema: z.ZodType<T>, body: Buffer): T {
  try {
    return schema.parse(JSON.parse(body.toString()));
  } catch (cause) {
    throw new PoisonError('not a message of this system', { cause });
  }
}
