/**
 * Every role is killed, and RabbitMQ restarted, in the middle of a run, in real containers: the answers are those of a straight loop. A fault counts only
 * if the topic that the role works on was under way when it struck. With FAULTS=all each of the roles dies, otherwise one of each class.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rabbitmqFolder, type Container } from '@lab/testing/containers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compareAnswers } from '../src/demo.ts';
import type { Answers } from '../src/domain/queries.ts';
import { topics, type Topic } from '../src/domain/terms.ts';
import { generateDataset } from '../data/generate.ts';
import { answerStraight } from '../data/straight-loop.ts';
import { roles } from '../src/wiring.ts';
import { runStruckClient } from './client-run.ts';
import { BikeComposeSystem } from './compose-system.ts';

const trips = 300_000;

let data: string;
let expected: Answers;
let system: BikeComposeSystem;

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'bike-chaos-'));
  await generateDataset({ directory: data, trips, seed: 7 });
  expected = await answerStraight(data);
  system = await BikeComposeSystem.start('chaos', { BROKERS: '2', FILTERS: '2', TRIPS_SOLVERS: '2' });
  expect(compareAnswers(expected, await system.runClient({ data }))).toEqual([]);
}, 900_000);

afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(data, { recursive: true });
});

/** Runs a client, strikes while the topic is under way, repairs at once, and compares. */
async function expectSameAnswers(topic: Topic, strike: () => Promise<void>, repair: () => Promise<void>): Promise<void> {
  const answers = await runStruckClient(system.entryPoint, { data, topic, strike, repair });
  expect(compareAnswers(expected, answers)).toEqual([]);
}

/** The topic that a role is busy with. */
const topicOf = (role: string): Topic => topics.find((topic) => role.includes(topic) && !role.includes('solver')) ?? 'trips';

const one = (service: string): Container => system.container(service);

/** One of each class: those of a class run the same code on other queues. */
const oneOfEach = ['solver-1', 'trips-solver-2', 'eof-trips-listener', 'filter-trips-3', 'broker-trips', 'entry-point'];
const killed = process.env['FAULTS'] === 'all' ? [...roles.keys()] : oneOfEach;

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
    await expectSameAnswers(
      'trips',
      () => container.pause(),
      () => Promise.resolve(),
    );
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
