/** Clients of the stack that post and read in a container, in the network of all. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { eventually } from '@lab/testing';
import { certificate } from '../deploy/swarm.ts';

export class SwarmClients {
  readonly #load;
  readonly #ended: Promise<[number | null]>;
  #progress = { posts: 0, reads: 0, tries: 0, tookMsMax: 0 };

  /** Starts them in a container of the engine at this address, of this one without. */
  constructor(container: string, host?: string) {
    const command = ['exec', '--interactive', container, 'node', '--input-type=module', '--eval', program];
    this.#load = spawn('docker', [...(host === undefined ? [] : ['--host', host]), ...command], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#ended = once(this.#load, 'close') as Promise<[number | null]>;
    createInterface(this.#load.stdout).on('line', (line) => (this.#progress = JSON.parse(line) as never));
  }

  /** Resolves when they have done more; rejects when they have ended. */
  async goOn(): Promise<void> {
    const { posts } = this.#progress;
    const more = eventually(() => this.#progress.posts > posts + 20, { timeoutMs: 120_000 });
    await Promise.race([more, this.#ended.then(([code]) => Promise.reject(new Error(`the clients ended with ${code}`)))]);
  }

  /** They end, and look for what was acknowledged; 0 when no request failed, and every post that was answered is there once. */
  async end(): Promise<number | null> {
    this.#load.stdin.end();
    const [code] = await this.#ended;
    const { posts, reads, tries, tookMsMax } = this.#progress;
    const took = `${tries} tries went elsewhere, the longest request took ${Math.round(tookMsMax)} ms`;
    console.log(`${posts} posts and ${reads} reads, none failed; ${took}`);
    return code;
  }
}

/** Ten users, each in an area of its own, that post and read as fast as they are answered until standard input ends, then look for what was acknowledged. */
const program = `
  import { randomUUID } from 'node:crypto';
  import { readFileSync } from 'node:fs';
  import { systemClock } from '@lab/process';
  import { addressesOf, ask } from './src/wire/asking.ts';
  import { Consortium } from './src/client/consortium.ts';
  import { askOver, trustOf } from './src/wire/tls.ts';
  const asking = askOver(ask, trustOf(readFileSync('${certificate}', 'utf8'), 'the secret'));
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
