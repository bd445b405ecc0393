/**
 * Every role is killed, and RabbitMQ restarted, in the middle of a run, in real containers: the answers are those of a straight loop. A fault counts only
 * if rows were under way when it struck.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Container } from '@lab/testing/containers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDataSet } from '../src/data-files.ts';
import { compareAnswers } from '../src/demo.ts';
import type { Answers } from '../src/domain/answers.ts';
import { cities, topics } from '../src/domain/terms.ts';
import { generateDataset } from '../src/generate.ts';
import { answerStraight } from '../src/straight-loop.ts';
import { roles } from '../src/wiring.ts';
import { ComposeSystem } from './compose-system.ts';

/** Takes the system a few seconds: longer than it takes to kill a container. */
const trips = 1_500_000;
/** The fault strikes when so much of the input was sent. */
const strikeAt = 0.3;

let data: string;
let totalBytes = 0;
let expected: Answers;
let system: ComposeSystem;

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'bike-chaos-'));
  await generateDataset({ directory: data, trips, seed: 7 });
  expected = await answerStraight(data);
  const files = await openDataSet(data);
  for (const city of cities) for (const topic of topics) totalBytes += files.bytes(city, topic);
  system = await ComposeSystem.start('chaos', { BROKERS: '2', FILTERS: '2', TRIPS_SOLVERS: '2', SESSION_TIMEOUT: '60' });
}, 300_000);

afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(data, { recursive: true });
});

/** Runs a client, strikes when it is under way, repairs when the answers are there or at once, and compares. */
async function expectSameAnswers(strike: () => Promise<void>, repair: () => Promise<void>): Promise<void> {
  let striking: Promise<void> | undefined;
  let sentAtStrike = 0;
  let sentAfterStrike = 0;
  let sent = 0;
  let answered = false;
  const results = await system.runClient({
    data,
    onProgress: (sentBytes) => {
      sent = sentBytes;
      if (striking !== undefined || sentBytes < strikeAt * totalBytes) return;
      sentAtStrike = sentBytes;
      striking = strike().then(() => {
        sentAfterStrike = sent;
        expect(answered).toBe(false);
        return repair();
      });
    },
  });
  answered = true;
  await striking;
  console.log(`struck between ${percent(sentAtStrike)} and ${percent(sentAfterStrike)} of the input`);
  expect(sentAtStrike).toBeGreaterThan(0);
  expect(sentAfterStrike).toBeLessThan(totalBytes);
  expect(compareAnswers(expected, results)).toEqual([]);
}

const percent = (bytes: number): string => `${Math.round((100 * bytes) / totalBytes)} %`;

async function one(service: string): Promise<Container> {
  const [first] = await system.containers(service);
  return first!;
}

describe('a replica is killed in the middle of a run and started again: the answers are the same', () => {
  it.each([...roles.keys()])('%s', async (role) => {
    const container = await one(role);
    await expectSameAnswers(
      () => container.kill(),
      () => container.start(),
    );
  });
});

describe('a replica hangs in the middle of a run and thaws after it: the answers are the same', () => {
  it.each(['broker-trips', 'filter-trips-2', 'trips-solver-3'])('%s', async (role) => {
    const container = await one(role);
    await expectSameAnswers(
      () => container.pause(),
      async () => {},
    );
    await container.unpause();
  });
});

describe('RabbitMQ goes in the middle of a run: the answers are the same', () => {
  it('stopped in good order', async () => {
    const container = await one('rabbitmq');
    await expectSameAnswers(
      () => container.stop(),
      () => container.start(),
    );
  });

  it('killed', async () => {
    const container = await one('rabbitmq');
    await expectSameAnswers(
      () => container.kill(),
      () => container.start(),
    );
  });
});
