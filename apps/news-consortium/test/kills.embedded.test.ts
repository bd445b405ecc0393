/** What is left of the promises when agents, nodes and the database die, hang and are cut off while clients are at work: all that they did and saw is checked. */
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/embedded-postgres';
import { eventually, simulate, type Random } from '@lab/testing';
import { Load } from '@lab/testing/load';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trespasses } from './assignment-log.ts';
import { ConsortiumInProcess } from './consortium-in-process.ts';
import { longestWait } from './history.ts';
import { waitMsMax, Work } from './work.ts';

/** Operations that must be done after a fault struck, before it ends: the clients went on without whoever is away. */
const operationsDuringFault = 40;
/** A seed takes 10 s; on a machine that is busy with ten other things it has taken a minute. */
const seedTimeoutMs = 3 * waitMsMax;

let postgres: EmbeddedPostgres;
beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
});
afterAll(() => postgres.stop());

/** Clients at work on a system of their own. */
class Run extends Work {
  readonly system: ConsortiumInProcess;
  constructor(system: ConsortiumInProcess, random: Random) {
    super(system, random);
    this.system = system;
  }
}

type Fault = (run: Run, random: Random) => Promise<void>;
const anyNode = ({ system }: Run, random: Random): string => random.pick(system.nodes);
const anyAgent = ({ system }: Run, random: Random): string => random.pick(system.agents);

const faults: Readonly<Record<string, Fault>> = {
  async 'a node is killed'(run, random) {
    const name = anyNode(run, random);
    await run.system.kill(name);
    await run.goOn(operationsDuringFault);
    await run.system.startNode(name);
  },
  async 'an agent is killed'(run, random) {
    const name = anyAgent(run, random);
    await run.system.kill(name);
    await run.goOn(operationsDuringFault);
    await run.system.startAgent(name);
  },
  async 'the agent that decides hangs'(run) {
    const name = await eventually(() => run.system.decider());
    run.system.pause(name!);
    await eventually(async () => ![undefined, name].includes(await run.system.decider()));
    await run.goOn(operationsDuringFault);
    run.system.heal(name!);
  },
  async 'a node hangs'(run, random) {
    const name = anyNode(run, random);
    run.system.pause(name);
    await run.goOn(random.integer(1, 4) * operationsDuringFault);
    run.system.heal(name);
  },
  async 'a node is cut off'(run, random) {
    const name = anyNode(run, random);
    run.system.cut(name);
    await run.goOn(random.integer(1, 4) * operationsDuringFault);
    run.system.heal(name);
  },
  async 'an agent is cut off'(run, random) {
    const name = anyAgent(run, random);
    run.system.cut(name);
    await run.goOn(operationsDuringFault);
    run.system.heal(name);
  },
  async 'the database is killed'() {
    await postgres.kill();
    await postgres.restart();
  },
  async 'the database restarts'() {
    await postgres.restart();
  },
  async 'a node joins and leaves'(run) {
    await run.system.startNode('node-extra');
    await run.goOn(operationsDuringFault);
    await run.system.stop('node-extra');
  },
  async 'a node leaves and another one comes'(run, random) {
    const name = anyNode(run, random);
    await run.system.stop(name);
    await run.goOn(operationsDuringFault);
    await run.system.startNode(name);
  },
};

describe('whatever is killed, hangs or is cut off', () => {
  const seeds = Number(process.env['SEEDS'] || 2);
  it(`the histories of ${seeds} seeds keep all promises`, { timeout: (seeds + 1) * seedTimeoutMs }, async () => {
    const waits: string[] = [];
    await simulate({ seeds, seedTimeoutMs, env: process.env, file: import.meta.filename }, async (random, seed) => {
      await using system = await ConsortiumInProcess.start(postgres);
      const run = new Run(system, random.fork('work'));
      await run.prepare();
      const chosen = random.shuffle(Object.keys(faults)).slice(0, random.integer(2, 3));
      await using load = new Load(run, { rate: 200, clients: 6, patienceMs: 60_000 });
      for (const name of chosen) {
        await run.goOn(operationsDuringFault);
        await load.amidWork();
        await faults[name]!(run, random);
      }
      await run.goOn(operationsDuringFault);
      const broken = (await load.verdicts()).filter(({ kept }) => kept !== true);
      const history = run.history!;
      const { kind, waitedMs } = longestWait(history);
      waits.push(
        `seed ${seed}, ${chosen.join(', ')}: ${history.operations.length} operations, longest wait ${waitedMs} ms (${kind})`,
      );
      expect(broken, chosen.join(', ')).toEqual([]);
      expect(await trespasses(system.databaseUrl), chosen.join(', ')).toBe(0);
      expect(waitedMs, waits.at(-1)).toBeLessThan(waitMsMax);
      // As a load that goes on with other areas.
      await run.leave();
    });
    console.log(waits.join('\n'));
  });
});
