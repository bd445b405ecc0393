/** `npx nx load news-consortium`: users who do whatever users do, on the system that `npx nx up news-consortium` has started. */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { eventually, seededRandom } from '@lab/testing';
import { Refused, type LoadClient, type Promised, type Workload } from '@lab/testing/load';
import { loadProgram } from '@lab/testing/load-program';
import { forgetAssignments } from './assignment-log.ts';
import { NewsComposeSystem } from './compose-system.ts';
import { Work } from './work.ts';

const directory = join(import.meta.dirname, '..');
/** A history of so many is checked, in less than a second, and another one begins. */
const operationsMax = 2_000;
/** Containers that are started again have other addresses. */
const refreshMs = 1_000;

/** One history after another. */
class NewsLoad implements Workload {
  readonly #system: NewsComposeSystem;
  #work: Work;
  #hasEnded = false;
  #changing: Promise<void> | undefined;
  #inHand = 0;

  private constructor(system: NewsComposeSystem, work: Work) {
    this.#system = system;
    this.#work = work;
  }

  static async open(system: NewsComposeSystem): Promise<NewsLoad> {
    const work = new Work(system, seededRandom(randomInt(1_000_000)));
    await work.prepare();
    return new NewsLoad(system, work);
  }

  get promises(): Promised[] {
    return this.#work.promises;
  }

  async connect(number: number): Promise<LoadClient> {
    let work = this.#work;
    let client = await work.connect(number);
    const operate = async (): Promise<void> => {
      await this.#begin();
      try {
        if (work !== this.#work) [work, client] = [this.#work, await this.#work.connect(number)];
        await client.operate();
      } finally {
        this.#inHand--;
      }
    };
    return { operate };
  }

  async #begin(): Promise<void> {
    while (this.#work.operations.length >= operationsMax)
      await (this.#changing ??= this.#change().finally(() => (this.#changing = undefined)));
    this.#inHand++;
  }

  async #change(): Promise<void> {
    const away = (error: Error): never => {
      throw new Refused(`between two histories: ${error.message}`);
    };
    await eventually(() => this.#inHand === 0).catch(away);
    await this.check().catch(away);
    await this[Symbol.asyncDispose]().catch(away);
    const next = new Work(this.#system, seededRandom(randomInt(1_000_000)), this.#work.promises);
    await next.prepare().catch(away);
    [this.#work, this.#hasEnded] = [next, false];
  }

  /** Its news stay where a promise about them was broken. */
  async [Symbol.asyncDispose](): Promise<void> {
    await forgetAssignments(this.#system.databaseUrl);
    if (this.promises.every((promised) => promised.verdict(true).kept !== false)) await this.#work.leave();
  }

  async check(): Promise<void> {
    if (!this.#hasEnded) await this.#work.check();
    this.#hasEnded = true;
  }
}

const program = {
  directory,
  operation: 'posts, reads, marks, deletes, subscribes or watches',
  ...{ rate: 20, clients: 6 },
  open: async ({ project }: { project: string }) => {
    const system = new NewsComposeSystem(directory, { COMPOSE_PROJECT_NAME: project });
    await system.refresh();
    setInterval(() => void system.refresh().catch(() => undefined), refreshMs);
    return NewsLoad.open(system);
  },
};
process.exit(await loadProgram(program, process));
