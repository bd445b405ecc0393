/** `npx nx break` on a word-count of this test's own: each fault is seen from outside, listed, and ended. */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ComposeSystem } from '@lab/testing/containers';
import { eventually, freePort } from '@lab/testing';
import { RunningProcess } from '@lab/testing/processes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { composeEnvironment, projectOf } from './compose.ts';
import { docker } from './container.ts';

const wordCount = join(import.meta.dirname, '../apps/word-count');
let system: ComposeSystem;

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'lab-break-'));
  await cp(join(wordCount, 'compose.yaml'), join(directory, 'compose.yaml'));
  await writeFile(join(directory, 'package.json'), JSON.stringify({ name: `@lab/break-${process.pid}` }));
  const own = { COMPOSE_PROJECT_NAME: projectOf(directory), LAB_PORT: String(await freePort()) };
  system = new ComposeSystem(directory, { ...(await composeEnvironment(wordCount)), ...own });
  await system.up();
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await rm(system.directory, { recursive: true });
});

function breaking(...args: readonly string[]): RunningProcess {
  const program = [join(import.meta.dirname, 'break.ts'), ...args];
  return new RunningProcess(spawn(process.execPath, program, { cwd: system.directory }), `break ${args.join(' ')}`);
}

async function done(...args: readonly string[]): Promise<{ code: number | null; said: string }> {
  const command = breaking(...args);
  return { code: await command.ended(), said: command.output };
}

const whole = 'counter-1  whole\ncounter-2  whole\nrabbitmq   whole\n';
/** What is wrong with each. Behind it stands where it is, while it runs. */
const listed = async (): Promise<string> => (await done('list')).said.replaceAll(/(?: {2}\d+\.\d+\.\d+\.\d+)+$/gm, '');
/** A service that was paused is unhealthy until it is asked again. */
const isWhole = (): Promise<boolean> =>
  eventually(async () => {
    expect(await listed()).toBe(whole);
    return true;
  });
const inside = (name: string, ...command: readonly string[]): Promise<string> =>
  docker('exec', `${system.project}-${name}`, ...command);
const state = (name: string): Promise<string> => docker('inspect', '--format', '{{.State.Status}}', `${system.project}-${name}`);

/** Counts packets until it is told of the last one, or until nobody sends any more: then what has arrived is still taken in. */
const listener = `let heard = 0, rounds = 0;
  const report = () => { console.log(heard); process.exit(); };
  const takeIn = () => ++rounds < 1000 ? setImmediate(takeIn) : report();
  require('dgram').createSocket('udp4')
    .on('message', (packet) => { if (packet.length > 1) report(); heard += 1; })
    .bind(9999, () => console.log('bound'));
  process.stdin.on('end', takeIn).resume();`;
const sender = `const { createSocket } = require('dgram');
  require('dns').lookup(process.argv[1], 4, (_, address) => {
    const socket = createSocket('udp4');
    let left = 300;
    const next = () => left-- > 0 ? socket.send(left < 100 ? 'end' : '.', 9999, address, () => setImmediate(next)) : socket.close();
    next();
  });`;

/** How many of 200 packets from one counter get to the other. */
async function received(from: string, to: string): Promise<number> {
  const args = ['exec', '--interactive', `${system.project}-${to}`, 'node', '-e', listener];
  await using listening = new RunningProcess(spawn('docker', args), 'listener');
  await listening.line(/bound/);
  await inside(from, 'node', '-e', sender, `${system.project}-${to}`);
  listening.endInput();
  await listening.ended();
  return Number(listening.stdout.split('\n')[1]);
}

/** How long a connection to RabbitMQ takes to open, in ms. */
async function connectMs(): Promise<number> {
  const script = `const start = performance.now();
    require('net').connect(5672, 'rabbitmq', () => { console.log(performance.now() - start); process.exit(); });`;
  return Number(await inside('counter-2', 'node', '-e', script));
}

const writes = (): Promise<string> =>
  inside('rabbitmq-1', 'dd', 'if=/dev/zero', 'of=/var/lib/rabbitmq/probe', 'bs=1k', 'count=1').then(
    () => 'written',
    (error: Error) => error.message,
  );
const clockSeconds = async (): Promise<number> => Number(await inside('counter-1', 'date', '+%s')) - Date.now() / 1_000;

interface Case {
  typed: string;
  says: string;
  lists: RegExp;
  seen: () => Promise<void>;
  ended: () => Promise<void>;
}

const cases: readonly Case[] = [
  {
    typed: 'kill counter-1',
    says: 'counter-1 killed; started again in 600 s (Ctrl-C: now)',
    lists: /^counter-1 {2}stopped, exit code 137$/m,
    seen: async () => expect(await state('counter-1')).toBe('exited'),
    ended: async () => expect(await state('counter-1')).toBe('running'),
  },
  {
    typed: 'stop counter-1',
    says: 'counter-1 stopped; started again in 600 s',
    lists: /^counter-1 {2}stopped, exit code 0$/m,
    seen: async () => expect(await state('counter-1')).toBe('exited'),
    ended: async () => expect(await state('counter-1')).toBe('running'),
  },
  {
    typed: 'pause rabbitmq',
    says: 'rabbitmq paused; unpaused in 600 s',
    lists: /^rabbitmq {3}paused$/m,
    seen: async () => expect(await state('rabbitmq-1')).toBe('paused'),
    ended: async () => expect(await state('rabbitmq-1')).toBe('running'),
  },
  {
    typed: 'cut counter-1',
    says: 'counter-1 cut from all; healed in 600 s',
    lists: /^counter-1 {2}cut from all$/m,
    seen: async () =>
      expect([await received('counter-2', 'counter-1'), await received('counter-1', 'counter-2')]).toEqual([0, 0]),
    ended: async () => expect(await received('counter-2', 'counter-1')).toBe(200),
  },
  {
    typed: 'cut counter-1 counter-2',
    says: 'counter-1 cut from counter-2; healed in 600 s',
    lists: /^counter-1 {2}deaf to counter-2\ncounter-2 {2}deaf to counter-1$/m,
    async seen() {
      expect([await received('counter-2', 'counter-1'), await received('counter-1', 'counter-2')]).toEqual([0, 0]);
      await eventually(async () => expect(await connectMs()).toBeLessThan(200));
    },
    ended: async () => expect(await received('counter-2', 'counter-1')).toBe(200),
  },
  {
    typed: 'cut counter-1 counter-2 --one-way',
    says: 'counter-1 not heard by counter-2; healed in 600 s',
    lists: /^counter-1 {2}whole\ncounter-2 {2}deaf to counter-1$/m,
    seen: async () =>
      expect([await received('counter-1', 'counter-2'), await received('counter-2', 'counter-1')]).toEqual([0, 200]),
    ended: async () => expect(await received('counter-1', 'counter-2')).toBe(200),
  },
  {
    typed: 'slow rabbitmq 200ms',
    says: 'rabbitmq slow by 200ms, with ',
    lists: /^rabbitmq {3}slow by 200(ms|\.0ms)$/m,
    seen: async () => expect(await connectMs()).toBeGreaterThanOrEqual(200),
    // What was slow on its way may still be on it.
    ended: () => eventually(async () => expect(await connectMs()).toBeLessThan(200)),
  },
  {
    typed: 'lose counter-1 50%',
    says: 'counter-1 loses 50%, by chance, with the packet filter; healed in 600 s',
    lists: /^counter-1 {2}loses 50%$/m,
    async seen() {
      // Outside of this once in 10^15 times.
      expect(Math.abs((await received('counter-2', 'counter-1')) - 100)).toBeLessThan(60);
    },
    ended: async () => expect(await received('counter-2', 'counter-1')).toBe(200),
  },
  {
    typed: 'fill-disk rabbitmq',
    says: 'rabbitmq full: no file in /var/lib/rabbitmq grows; has room again in 600 s',
    lists: /^rabbitmq {3}disk full$/m,
    seen: async () => expect(await writes()).toMatch(/No space left on device/),
    ended: async () => expect(await writes()).toBe('written'),
  },
  {
    typed: 'clock counter-1 -1h',
    says: 'counter-1 restarted, its clock 3600 s slow; restarted with the right clock in 600 s',
    lists: /^counter-1 {2}clock -3600 s$/m,
    seen: async () => expect(Math.abs((await clockSeconds()) + 3_600)).toBeLessThan(60),
    ended: async () => expect(Math.abs(await clockSeconds())).toBeLessThan(60),
  },
];

describe('a fault by command', () => {
  it.each(cases)('is there, is listed, and ends at Ctrl-C: $typed', async ({ typed, says, lists, seen, ended }) => {
    await using command = breaking(...typed.split(' '), '--for', '10m');
    await command.line(/Ctrl-C/);
    expect(command.output).toContain(says);
    expect(await listed()).toMatch(lists);
    await seen();
    command.signal('SIGINT');
    expect(await command.ended()).toBe(130);
    await isWhole();
    await ended();
  });

  it('ends by itself', async () => {
    expect(await done('cut', 'counter-1', '--for', '1s')).toEqual({
      code: 0,
      said: 'counter-1 cut from all; healed in 1 s (Ctrl-C: now)\ncounter-1 healed\n',
    });
    await isWhole();
  });

  it('that a killed command leaves is listed, and ended by heal, a half of a cut with the other', async () => {
    await using command = breaking('cut', 'counter-1', 'rabbitmq');
    await command.line(/Ctrl-C/);
    await command.kill();
    expect(await listed()).toMatch(/^counter-1 {2}deaf to rabbitmq$/m);
    const { code, said } = await done('heal', 'counter-1');
    expect([code, said.split('\n').sort()]).toEqual([
      0,
      ['', 'counter-1 healed: deaf to rabbitmq', 'rabbitmq healed: deaf to counter-1'],
    ]);
    await isWhole();
  });

  it('stays with --keep, beside others, until each is ended or all are', async () => {
    expect(await done('pause', 'counter-1', '--keep')).toEqual({
      code: 0,
      said: expect.stringContaining('heal counter-1 ends it') as string,
    });
    expect(await done('unpause', 'counter-1')).toEqual({ code: 0, said: 'counter-1 unpaused\n' });
    for (const typed of ['kill counter-1', 'lose counter-2 1%', 'slow counter-2 5ms', 'fill-disk rabbitmq', 'slow rabbitmq 5ms'])
      expect(await done(...typed.split(' '), '--keep')).toMatchObject({ code: 0 });
    expect(await listed()).toMatch(/^counter-1 .*137\ncounter-2 .*loses 1%.*slow by 5.*\nrabbitmq .*slow by 5.*disk full$/m);
    expect(await done('pause', 'counter-1')).toEqual({
      code: 1,
      said: expect.stringContaining('counter-1 is stopped') as string,
    });
    expect(await done('start', 'counter-1')).toEqual({ code: 0, said: 'counter-1 started\n' });
    expect(await done('heal')).toMatchObject({ code: 0 });
    await isWhole();
    expect((await done('heal')).said).toBe('nothing is broken\n');
  });

  it('of a disk is ended for one that fails at every start because of it', async () => {
    expect(await done('fill-disk', 'rabbitmq', '--keep')).toMatchObject({ code: 0 });
    const rabbitmq = system.container('rabbitmq');
    await docker('restart', '--time', '1', rabbitmq.id);
    await docker('kill', rabbitmq.id);
    expect(await done('heal')).toMatchObject({ code: 0 });
    await isWhole();
  });

  it('leaves a list that says where each is', async () => {
    expect((await done('list')).said).toMatch(/^counter-1 {2}whole {2}\d+\.\d+\.\d+\.\d+$/m);
  });

  it('restarts at once', async () => {
    const startedAt = (): Promise<string> =>
      docker('inspect', '--format', '{{.State.StartedAt}}', system.container('counter').id);
    const before = await startedAt();
    expect(await done('restart', 'counter-1')).toEqual({ code: 0, said: 'counter-1 restarted\n' });
    expect(await startedAt()).not.toBe(before);
  });

  it('is refused where there is no such target, or nothing to break; the targets are named', async () => {
    const there = 'there are counter-1, counter-2, rabbitmq\n';
    expect(await done('kill', 'counter')).toEqual({ code: 2, said: `"counter" is no target; ${there}` });
    expect(await done('cut', 'rabbitmq', 'web')).toEqual({ code: 2, said: `"web" is no target; ${there}` });
    expect(await done('fill-disk', 'counter-1')).toEqual({ code: 2, said: expect.stringContaining('no volume') as string });
    await isWhole();
  });

  it('is one after the other with random: the same for the same seed', async () => {
    const run = async (): Promise<string[]> => {
      const { code, said } = await done('random', '--seed', '7', '--for', '20s');
      expect(code).toBe(0);
      return said.split('\n').map((line) => line.replace(/^ *[\d.]+ s/, ''));
    };
    const [first, second] = [await run(), await run()];
    // On a busy machine one run has fewer of them, and its last one is cut short.
    const both = Math.min(first.length, second.length);
    expect(both).toBeGreaterThan(3);
    const lastBegins = both - 3;
    const cut = (lines: readonly string[]): string[] =>
      lines.slice(0, both - 1).map((line, index) => (index < lastBegins ? line : line.replace(/ for \d+ s$/, '')));
    expect(cut(second)).toEqual(cut(first));
    await isWhole();
  });
});
