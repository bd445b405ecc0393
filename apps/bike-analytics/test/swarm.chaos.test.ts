/**
 * The system on three machines, of which one dies in the middle of a run, with all that it has: the answers are those of a straight loop, though
 * the machine stays dead until they are there. What ran on it runs on the others then, but for its node of RabbitMQ, which the other two outvote.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoMachines, type Machine } from '../../../docker/machines.ts';
import { brokenBy, makeDataSet, type DataSet } from './load.ts';
import { BikeSwarm } from './swarm-system.ts';

const trips = 300_000;
/** Three engines, three nodes of RabbitMQ and 27 roles start on one machine, and again after a fault: two minutes, of which a busy one makes ten. */
const patienceMs = 600_000;
const why = await whyNoMachines();

const title = `a machine of a Swarm dies in the middle of a run${why === undefined ? '' : `: ${why}`}`;
describe.skipIf(why)(title, { timeout: patienceMs }, () => {
  let folder: string;
  let set: DataSet;
  let swarm: BikeSwarm;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bike-swarm-'));
    set = await makeDataSet(folder, trips, 7);
    swarm = await BikeSwarm.start({ FILTERS: '2' });
  }, patienceMs);
  afterAll(async () => {
    await swarm?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  async function expectSameAnswersWithout(machine: Machine): Promise<void> {
    const strike = () => machine.kill();
    expect(await brokenBy({ topic: 'trips', strike }, swarm.entryPoint, set)).toEqual([]);
    await machine.start();
    await swarm.whole();
  }

  /** The one of two workers that has more of something, and that has some of it. */
  async function workerWithMost(countOn: (machine: Machine, number: number) => Promise<number>): Promise<Machine> {
    const counts = await Promise.all([2, 3].map((number) => countOn(swarm.machines[number - 1]!, number)));
    expect(Math.max(...counts)).toBeGreaterThan(0);
    return swarm.machines[counts[0]! > counts[1]! ? 1 : 2]!;
  }

  it('that with most of the filters', async () => {
    const filters = async (machine: Machine): Promise<number> =>
      (await swarm.servicesOn(machine)).filter((name) => name.startsWith('filter-trips-')).length;
    await expectSameAnswersWithout(await workerWithMost(filters));
  });

  it('that with the node of RabbitMQ that leads most of the queues', async () => {
    const leaders = (await swarm.rabbitmqctl('list_queues', 'leader')).flat();
    const led = async (_: Machine, number: number): Promise<number> =>
      leaders.filter((leader) => leader === `rabbit@rabbitmq-${number}`).length;
    await expectSameAnswersWithout(await workerWithMost(led));
  });
});
