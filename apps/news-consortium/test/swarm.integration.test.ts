/** The stack of deploy/stack.yaml on a swarm of one machine: nodes are added and taken away while clients post and read. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { eventually } from '@lab/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { clientContainer, down, scale, up } from '../deploy/swarm.ts';
import type { WholeStatus } from '../src/client/lists.ts';

const execute = promisify(execFile);
let container: string;

beforeAll(async () => {
  await up(3);
  container = await clientContainer();
});
afterAll(down, 180_000);

/** A client's command in the network of all; what it answers to programs. */
async function client<T>(...args: readonly string[]): Promise<T> {
  const command = [
    'exec',
    container,
    'node',
    'src/main.ts',
    'client',
    '--agents',
    'agent:8000',
    '--ca',
    '/run/secrets/tls-certificate',
    '--json',
  ];
  return JSON.parse((await execute('docker', [...command, ...args])).stdout) as T;
}

const nodesServing = async (): Promise<number> => {
  const { nodes } = await client<WholeStatus>('status');
  return nodes.filter(({ areas, leaving }) => areas > 0 && !leaving).length;
};

it('scales from 3 nodes to 5 and back while requests run, without a failed one', async () => {
  await client('login', 'admin', '--password', 'battery-staple');
  for (let number = 1; number <= 10; number++) await client('area', 'add', `area-${number}`);
  await eventually(async () => (await nodesServing()) === 3, { timeoutMs: 120_000, intervalMs: 200 });

  const load = spawn('docker', ['exec', '--interactive', container, 'node', '--input-type=module', '--eval', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(load, 'close') as Promise<[number | null]>;
  let progress = { posts: 0, reads: 0, tries: 0, tookMsMax: 0 };
  createInterface(load.stdout).on('line', (line) => (progress = JSON.parse(line) as typeof progress));
  const goesOn = async (): Promise<void> => {
    const { posts } = progress;
    const more = eventually(() => progress.posts > posts + 20, { timeoutMs: 120_000 });
    await Promise.race([more, ended.then(([code]) => Promise.reject(new Error(`the clients ended with ${code}`)))]);
  };

  await goesOn();
  await scale(5);
  await eventually(async () => (await nodesServing()) === 5, { timeoutMs: 120_000, intervalMs: 200 });
  await goesOn();
  await scale(3);
  await eventually(async () => (await nodesServing()) === 3, { timeoutMs: 120_000, intervalMs: 200 });
  await goesOn();
  load.stdin.end();

  expect(await ended, 'no request failed, and every post that was answered is there once').toEqual([0, null]);
  const { posts, reads, tries, tookMsMax } = progress;
  console.log(
    `${posts} posts and ${reads} reads, none failed; ${tries} tries went elsewhere, the longest request took ${Math.round(tookMsMax)} ms`,
  );
});

/** Ten users, each in an area of its own, that post and read as fast as they are answered until standard input ends, then look for what was acknowledged. */
const program = `
  import { randomUUID } from 'node:crypto';
  import { readFileSync } from 'node:fs';
  import { systemClock } from '@lab/process';
  import { addressesOf, ask } from './src/wire/asking.ts';
  import { Consortium } from './src/client/consortium.ts';
  import { askOver, trustOf } from './src/wire/tls.ts';
  const asking = askOver(ask, trustOf(readFileSync('/run/secrets/tls-certificate', 'utf8'), 'the secret'));
  const counts = { posts: 0, reads: 0, tries: 0, tookMsMax: 0 };
  const report = () => console.log(JSON.stringify(counts));
  let ended = false;
  process.stdin.on('end', () => (ended = true)).resume();
  setInterval(report, 100);
  async function run(number) {
    const area = 'area-' + number;
    const consortium = new Consortium({
      agents: () => addressesOf(['agent:8000']), ask: asking, clock: systemClock, patienceMs: 30_000, onTrouble: () => counts.tries++,
    });
    const user = { name: 'user-' + number, password: 'a password' };
    await consortium.ask('register', { ...user, key: randomUUID() });
    const { token } = await consortium.ask('login', { ...user, key: randomUUID() });
    await consortium.ask('subscribe', { token, area, key: randomUUID() });
    const posted = [];
    const measured = async (kind, body) => {
      const startMs = performance.now();
      const reply = await consortium.ask(kind, { token, area, ...body });
      counts.tookMsMax = Math.max(counts.tookMsMax, performance.now() - startMs);
      return reply;
    };
    while (!ended) {
      const text = 'item ' + randomUUID();
      await measured('post', { key: randomUUID(), text });
      posted.push(text);
      counts.posts++;
      await measured('read', { limit: 10 });
      counts.reads++;
    }
    const found = [];
    for (let before; ; before = found[0].number) {
      const { items } = await consortium.ask('read', { token, area, limit: 100, before });
      found.unshift(...items);
      if (items.length < 100) break;
    }
    if (found.map(({ text }) => text).join() !== posted.join()) throw new Error(area + ' has not what was acknowledged');
  }
  await Promise.all(Array.from({ length: 10 }, (_, index) => run(index + 1)));
  report();
  process.exit();
`;
