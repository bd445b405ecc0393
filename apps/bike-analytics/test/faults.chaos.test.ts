/**
 * Every role is killed, and RabbitMQ restarted, in the middle of a run, in real containers: the answers are those of a straight loop. A fault counts only
 * if the topic that the role works on was under way when it struck. With CHAOS=all each of the roles dies, otherwise one of each class.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rabbitmqFolder, type Container } from '@lab/testing/containers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { topics, type Topic } from '../src/domain/terms.ts';
import { roles } from '../src/wiring.ts';
import { BikeComposeSystem } from './compose-system.ts';
import { brokenBy, makeDataSet, type DataSet } from './load.ts';

const trips = 150_000;

let folder: string;
let set: DataSet;
let system: BikeComposeSystem;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bike-chaos-'));
  set = await makeDataSet(folder, trips, 7);
  system = await BikeComposeSystem.start('chaos', { BROKERS: '2', FILTERS: '2', TRIPS_SOLVERS: '2' });
}, 900_000);

afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** Strikes while a client reads the topic, repairs at once, and compares. */
async function expectSameAnswers(topic: Topic, strike: () => Promise<void>, repair?: () => Promise<void>): Promise<void> {
  expect(await brokenBy({ topic, strike, ...(repair && { repair }) }, system.entryPoint, set)).toEqual([]);
}

/** The topic that a role is busy with. */
const topicOf = (role: string): Topic => topics.find((topic) => role.includes(topic) && !role.includes('solver')) ?? 'trips';

const one = (service: string): Container => system.container(service);

/** One of each class: those of a class run the same code on other queues. */
const oneOfEach = ['solver-1', 'trips-solver-2', 'eof-trips-listener', 'filter-trips-3', 'broker-trips', 'entry-point'];
const killed = process.env['CHAOS'] === 'all' ? [...roles.keys()] : oneOfEach;

describe('a replica is killed in the middle of a run and started again: the answers are the same', () => {
  it.each(killed)('%s', async (role) => {
    const container = one(role);
    await expectSameAnswers(
      topicOf(role),
      () => container.kill(),
      () => container.start(),
    );
  });
});

describe('a replica hangs in the middle of a run and thaws after it: the answers are the same', () => {
  it.each(['filter-trips-2', 'trips-solver-3'])('%s', async (role) => {
    const container = one(role);
    await expectSameAnswers('trips', () => container.pause());
    await container.unpause();
  });
});

describe('RabbitMQ goes in the middle of a run: the answers are the same', () => {
  it('killed', async () => {
    const container = one('rabbitmq');
    await expectSameAnswers(
      'trips',
      () => container.kill(),
      () => container.start(),
    );
  });

  it('killed, and its disk is empty when it is back: the client begins again', async () => {
    const container = one('rabbitmq');
    await expectSameAnswers(
      'trips',
      () => container.kill(),
      async () => {
        await container.empty(rabbitmqFolder);
        await container.start();
      },
    );
  });

  it('stopped in good order', async () => {
    const container = one('rabbitmq');
    await expectSameAnswers(
      'trips',
      () => container.stop(),
      () => container.start(),
    );
  });
});
