/** A system small enough to see through: a sender, a queue and a worker that tells a log, right or with a mistake. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Broker } from '@lab/middleware';
import { describe, expect, it, vi } from 'vitest';
import { brokerKinds, kindsAt, placeOf, type KindName } from './faults.ts';
import { SimulatedBroker } from './broker.ts';
import type { SimulationEvent } from './events.ts';
import { readSaved, simulateProgram } from './program.ts';
import { failureText, findFailure, simulateSeeds } from './seeds.ts';
import { storyOf } from './story.ts';
import { checkDeterminism, runScenario, scenarioOf, type SimulatedSystem } from './system.ts';
import { PromiseBroken, type World } from './world.ts';

type Worker = (broker: Broker) => Promise<unknown>;

const topology = { queues: [{ name: 'jobs' }], logs: [{ name: 'done' }] };

const careful: Worker = (broker) => broker.consume('jobs', ({ body }) => broker.append('done', body), { prefetch: 10 });
const hasty: Worker = (broker) => broker.consume('jobs', ({ body }) => void broker.append('done', body), { prefetch: 10 });

function systemOf(work: Worker, extra: Partial<SimulatedSystem<{ jobs: number }>> = {}): SimulatedSystem<{ jobs: number }> {
  return {
    name: 'yours',
    kinds: brokerKinds,
    workload: (random) => ({ jobs: random.integer(1, 20) }),
    least: { jobs: 1 },
    faultsForMs: 5_000,
    settleMs: 60_000,
    liveness: 'Every job is done',
    promises: [],
    prepare:
      async ({ jobs }) =>
      (world) =>
        run(world, work, jobs),
    ...extra,
  };
}

async function run(world: World, work: Worker, jobs: number): Promise<void> {
  const rabbitmq = new SimulatedBroker(world, (body) => `job ${Buffer.from(body).toString()}`);
  const done = new Set<string>();
  const { promise: allDone, resolve } = Promise.withResolvers<void>();
  world.start('worker', async (life) => {
    const broker = rabbitmq.connect(life);
    await broker.declare(topology);
    await work(broker);
  });
  world.start('sender', async (life) => {
    const broker = rabbitmq.connect(life);
    await broker.declare(topology);
    for (let job = 1; job <= jobs; job++) await broker.publish({ routingKey: 'jobs', body: Buffer.from(String(job)) });
  });
  world.start('witness', async (life) => {
    const broker = rabbitmq.connect(life);
    await broker.declare(topology);
    for await (const { body } of await broker.read('done', 'first')) if (done.add(body.toString()).size === jobs) resolve();
  });
  await allDone;
}

it.each([
  ['--seed', '1', '--seeds', '2'],
  ['--seeds', '2', '--faults', 'x.json'],
])('%s %s %s %s are two answers to one question: wrong usage', async (...args) => {
  let said = '';
  const write = (text: string): boolean => ((said += text), true);
  const io = { argv: ['node', 'simulate.ts', ...args], env: {}, stdout: { write }, stderr: { write } };
  expect(await simulateProgram(systemOf(careful), io)).toBe(2);
  expect(said).toContain('give one of --seeds, --seed and --faults');
  expect(said).toContain('"npx nx simulate yours help" lists');
});

it('says where the events are that were asked for, from the folder of who asked, and what shows them', async () => {
  const folder = await mkdtemp(join(tmpdir(), "lab's events-"));
  const file = join(folder, 'tmp/run.jsonl');
  using stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  using stdout = vi.spyOn(console, 'log').mockReturnValue();
  const io = { argv: ['node', 'simulate.ts', '--seed', '1', '--events', 'tmp/run.jsonl'], env: { INIT_CWD: folder } };
  expect(await simulateProgram(systemOf(careful), { ...process, ...io })).toBe(0);
  const count = (await readFile(file, 'utf8')).trim().split('\n').length;
  const [[said = ''] = []] = stderr.mock.calls as string[][];
  expect(said).toContain(`${count} events are in ${file}; to see them: npx nx look yours --replay `);
  expect(execFileSync('sh', ['-c', `printf %s ${said.trim().split('--replay ')[1]}`]).toString()).toBe(file);
  expect(stdout).toHaveBeenCalledOnce();
  await rm(folder, { recursive: true });
});

describe('a right system', () => {
  it('keeps its promises under 300 seeds in which every kind of fault strikes', () => simulateSeeds(systemOf(careful), 300, {}));

  it('runs the same way twice', async () => {
    for (let seed = 1; seed <= 20; seed++) await checkDeterminism(systemOf(careful), scenarioOf(systemOf(careful), seed));
  });

  it('runs the same way again with a list of the faults that its recording has', async () => {
    const system = systemOf(careful);
    let struck = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const { scenario, events } = await runScenario(system, scenarioOf(system, seed), true);
      const faults = events.filter((event) => event.type === 'fault');
      const again = await runScenario(system, { ...scenario, faults }, true);
      expect(again.events.slice(1)).toEqual(events.slice(1));
      struck += faults.length;
    }
    expect(struck).toBeGreaterThan(20);
  });

  it('is struck at whatever event of its recording one names, by every kind that there is for it', async () => {
    // Not every call sends something.
    const isSent = (event: SimulationEvent): boolean => event.type !== 'call' || ['publish', 'append'].includes(event.call);
    const ofSending: readonly KindName[] = ['twice', 'connection lost'];
    const system = systemOf(careful);
    const calm = await runScenario(system, { ...scenarioOf(system, 3), faults: [] }, true);
    const places = calm.events.filter((event) => placeOf(event) !== undefined);
    expect(new Set(places.map(({ type }) => type))).toEqual(new Set(['call', 'delivery', 'settled']));
    for (const event of places) {
      const own = kindsAt[event.type]!.filter(
        (kind) => brokerKinds.includes(kind as never) && (isSent(event) || !ofSending.includes(kind)),
      );
      for (const kind of own) {
        const fault = { key: `${placeOf(event)!} ${kind}`, arg: 1 };
        const { fired } = await runScenario(system, { ...calm.scenario, faults: [fault] });
        expect(fired, fault.key).toEqual([fault]);
      }
    }
  });

  it('is told of a kind that never strikes', async () => {
    const system = systemOf(careful, { kinds: ['late', 'cut'] });
    await expect(simulateSeeds(system, 200, {})).rejects.toThrow('no fault of these kinds has struck: cut');
  });
});

describe('a worker that acknowledges first', () => {
  it('is found, with a fault or two and a few jobs left, and a story', async () => {
    const failure = await findFailure(systemOf(hasty), 50);
    expect(failure?.promise).toBe('Every job is done');
    expect(failure!.scenario.load['jobs']).toBeLessThanOrEqual(3);
    expect(failure!.scenario.faults!.length).toBeLessThanOrEqual(2);
    const text = failureText(failure!);
    expect(text).toMatch(/FAULT worker\.1 .*(dies before|dies after)/);
    expect(text).toMatch(/worker\.1 <- jobs {3}job \d/);
    expect(text).toMatch(/never {2}-> append done {3}job \d/);
    expect(text).toContain('; again with: npx nx simulate yours --seed ');
    expect(await readFile(join(import.meta.dirname, '../README.md'), 'utf8')).toContain(text);
  });

  it('is looked at in a recording of the few faults alone', async () => {
    const system = systemOf(hasty);
    const { scenario } = (await findFailure(system, 50))!;
    const folder = await mkdtemp(join(tmpdir(), 'lab-events-'));
    const file = join(folder, 'run.jsonl');
    using stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    using stdout = vi.spyOn(console, 'log').mockReturnValue();
    const io = { argv: ['node', 'simulate.ts', '--seed', String(scenario.seed), '--events', file], env: {} };
    expect(await simulateProgram(system, { ...process, ...io })).toBe(1);
    expect(stderr).toHaveBeenCalledOnce();
    expect(stdout.mock.calls[0]![0]).toMatch(/\d+ faults? had struck; these are enough /);
    const events = (await readFile(file, 'utf8')).trim().split('\n');
    const struck = events.map((line) => JSON.parse(line) as SimulationEvent).filter(({ type }) => type === 'fault');
    expect(struck.map((event) => ('key' in event ? event.key : ''))).toEqual(scenario.faults!.map(({ key }) => key));
    await rm(folder, { recursive: true });
  });

  it('is told, with its story, where the file cannot be written', async () => {
    using stdout = vi.spyOn(console, 'log').mockReturnValue();
    let said = '';
    const write = (text: string): boolean => ((said += text), true);
    const file = join(import.meta.filename, 'lost.json');
    const io = { argv: ['node', 'simulate.ts', '--seed', '4', '--save', file], env: {}, stdout: { write }, stderr: { write } };
    expect(await simulateProgram(systemOf(hasty), io)).not.toBe(0);
    expect(stdout.mock.calls[0]![0]).toContain('BROKEN: Every job is done');
    expect(said).toContain(`${file} cannot be written: `);
  });

  it('fails again from a list in a file, without the seed', async () => {
    const system = systemOf(hasty);
    const { scenario, promise } = (await findFailure(system, 50))!;
    const folder = await mkdtemp(join(tmpdir(), 'faults-'));
    const path = join(folder, 'lost.json');
    await writeFile(path, JSON.stringify({ format: 'lab-faults', version: 1, system: 'yours', ...scenario }));
    expect((await runScenario(system, await readSaved(system, path))).broken?.promise).toBe(promise);
    expect((await runScenario(systemOf(careful), await readSaved(system, path))).broken).toBeUndefined();
    await writeFile(path, (await readFile(path, 'utf8')).replace('dies', 'explodes'));
    await expect(readSaved(system, path)).rejects.toThrow('is no list of faults');
    await rm(folder, { recursive: true });
  });
});

it('a system that is busy for ever breaks its promise of liveness, and the story repeats nothing for ever', async () => {
  const angry: Worker = (broker) => broker.consume('jobs', () => Promise.reject(new Error('no')), { prefetch: 10 });
  const system = systemOf(angry, { faultsForMs: 100, settleMs: 100 });
  const { broken, events } = await runScenario(system, { seed: 1, load: { jobs: 1 }, faults: [] }, true);
  expect(broken?.promise).toBe('Every job is done');
  const lines = storyOf(events, []).split('\n');
  expect(lines.map((line) => line.replace(/^ *(\d+ ms {2})?/, ''))).toEqual([
    'worker.1 <- jobs (again)   job 1',
    'worker.1 fails job 1',
    'worker.1 <- jobs (again)   job 1',
    'worker.1 fails job 1',
    '... and 16 more',
  ]);
});

it('the story has what was delivered again, though no fault has touched it', async () => {
  const system = systemOf(careful);
  const calm = await runScenario(system, { seed: 1, load: { jobs: 2 }, faults: [] }, true);
  const faults = [{ key: 'sender.1 publish #2 jobs dies meanwhile', arg: 1 }];
  const { events } = await runScenario(system, { ...calm.scenario, faults }, true);
  expect(storyOf(events, calm.events).match(/worker\.1 <- jobs {3}job 1$/gm)).toHaveLength(2);
});

it('chance that no seed decides is found, with the first event that differs', async () => {
  let runs = 0;
  const system = systemOf(careful, { prepare: async () => (world) => run(world, careful, 5 + (runs++ % 2)) });
  await expect(checkDeterminism(system, scenarioOf(system, 1))).rejects.toThrow(/seed 1 is not deterministic: event \d+ is/);
});

it('a program that fails by itself breaks a promise, too', async () => {
  const system = systemOf(careful, {
    prepare: async () => () => Promise.reject(new RangeError('no 17 here')),
  });
  const { broken } = await runScenario(system, scenarioOf(system, 1));
  expect(broken).toBeInstanceOf(PromiseBroken);
  expect(broken!.promise).toBe('no program fails (RangeError: no … here)');
});
