/** `npx nx load bike-analytics`: file-readers, each with one session after another. */
import { join } from 'node:path';
import type { Verdict } from '@lab/testing/ledger';
import { Load, Promised, Refused, type LoadClient, type Workload } from '@lab/testing/load';
import { loadProgram, type RunningSystem } from '@lab/testing/load-program';
import { generateDataset } from '../data/generate.ts';
import { answerStraight } from '../data/straight-loop.ts';
import { compareAnswers } from '../src/demo.ts';
import type { Answers } from '../src/domain/queries.ts';
import { RefusedError } from '../src/roles/client-session.ts';
import type { Topic } from '../src/domain/terms.ts';
import { Pace, runClient, type ClientRun, type EntryPoint } from './client-run.ts';

/** A folder with data, and what a straight loop says of it. */
export interface DataSet {
  readonly data: string;
  readonly expected: Answers;
}

/** Makes one from a seed. */
export async function makeDataSet(data: string, trips: number, seed: number): Promise<DataSet> {
  await generateDataset({ directory: data, trips, seed });
  return { data, expected: await answerStraight(data) };
}

export class BikeLoad implements Workload {
  readonly #same = new Promised('the answers are the same', "sessions with the straight loop's answers");
  readonly #ends = new Promised('never a hang: a session ends', 'sessions ended');
  readonly promises = [this.#same, this.#ends];
  readonly #entryPoint: EntryPoint;
  readonly #sets: readonly DataSet[];
  readonly #run: Omit<ClientRun, 'data'>;
  #inHand = 0;
  #ended = 0;

  /** Each client has one of the sets. */
  constructor(entryPoint: EntryPoint, sets: readonly DataSet[], run: Omit<ClientRun, 'data'> = {}) {
    this.#entryPoint = entryPoint;
    this.#sets = sets;
    this.#run = run;
  }

  async connect(number: number): Promise<LoadClient> {
    const set = this.#sets[number % this.#sets.length]!;
    return { operate: () => this.#session(set) };
  }

  async #session({ data, expected }: DataSet): Promise<void> {
    this.#inHand++;
    try {
      const answers = await runClient(this.#entryPoint, { data, ...this.#run });
      const differences = compareAnswers(expected, answers);
      if (differences.length === 0) this.#same.holds();
      else this.#same.breaks(`${data}: ${differences.slice(0, 3).join('; ')}`);
    } catch (error) {
      throw error instanceof RefusedError ? new Refused(error.message) : error;
    } finally {
      this.#inHand--;
      this.#ended++;
    }
  }

  /** The load has waited for those in hand, in a system that takes work. */
  async check(): Promise<void> {
    this.#ends.anew();
    for (let session = 0; session < this.#ended; session++) this.#ends.holds();
    for (let session = 0; session < this.#inHand; session++) this.#ends.breaks('a session has not ended');
  }
}

/** A fault, and the topic that a client is to read when it strikes. */
export interface Struck {
  readonly topic: Topic;
  readonly strike: () => Promise<void>;
  /** At once; without it the fault stays. */
  readonly repair?: () => Promise<void>;
}

/** Half a minute until a dead machine is noticed, and on a busy one ten times that. */
const patienceMs = 600_000;

/** A fault strikes in the middle of a session, and another session begins after it: the promises that did not hold. */
export async function brokenBy({ topic, strike, repair }: Struck, entryPoint: EntryPoint, set: DataSet): Promise<Verdict[]> {
  const { beforePiece, struck } = new Pace(topic);
  const workload = new BikeLoad(entryPoint, [set], { batchRows: 256, beforePiece });
  await using load = new Load(workload, { rate: 10, clients: 1, patienceMs });
  await struck(strike);
  await repair?.();
  return (await load.verdicts()).filter(({ kept }) => !kept);
}

const trips = 20_000;

if (import.meta.main) {
  const directory = join(import.meta.dirname, '..');
  const open = async ({ port }: RunningSystem): Promise<BikeLoad> => {
    const sets = [1, 2, 3].map((seed) => makeDataSet(join(directory, `tmp/load-${seed}`), trips, seed));
    return new BikeLoad({ host: '127.0.0.1', port }, await Promise.all(sets), { unwelcomeMaxMs: 90_000 });
  };
  const operation = `has questions to ${trips.toLocaleString('en')} trips answered`;
  process.exit(await loadProgram({ directory, operation, rate: 2, clients: 3, open }, process));
}
