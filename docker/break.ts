/**
 * `npx nx break APP VERB WORDS`: faults by command on the system that `npx nx up APP` has started, by its containers alone. A fault ends after its time
 * or at Ctrl-C. What a killed command leaves behind is found again in the containers, by `list`, and ended by `heal`.
 */
import { randomInt } from 'node:crypto';
import { basename } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { projectOf } from './compose.ts';
import { docker, faultsIn } from './container.ts';
import { ensureEngine, say } from './engine.ts';
import { Journal } from './journal.ts';
import { targetsOf, type Target } from './targets.ts';
import { findTarget, help, parse, planned, UsageError, type Order } from './verbs.ts';

/** What was done, and how it ends; what is done at once ends by itself. */
interface Struck {
  readonly did: string;
  readonly end?: { readonly word: string; readonly run: () => Promise<void> };
}

/** Another command may have ended a fault meanwhile. */
const startIfStopped = async (target: Target): Promise<void> =>
  (await target.state()) === 'running' ? undefined : target.start();
/** With a container that ended, the network went in which its packets were lost. */
const healIfThere = async (target: Target, fault: string): Promise<void> =>
  ['running', 'paused'].includes(await target.state()) ? target.heal(fault) : undefined;

const started = (target: Target) => ({ word: 'started again', run: () => startIfStopped(target) });
const healed = (target: Target, fault: string) => ({ word: 'healed', run: () => healIfThere(target, fault) });

type Strike = (order: Order, target: Target, other: Target | undefined) => Promise<Struck>;

const strikes: Readonly<Record<Exclude<Order['verb'], 'heal' | 'list' | 'random'>, Strike>> = {
  kill: async (_, target) => {
    await target.kill();
    return { did: 'killed', end: started(target) };
  },
  stop: async (_, target) => {
    await target.stop();
    return { did: 'stopped', end: started(target) };
  },
  start: async (_, target) => {
    await target.start();
    return { did: 'started' };
  },
  restart: async (_, target) => {
    await target.restart();
    return { did: 'restarted' };
  },
  pause: async (_, target) => {
    await target.pause();
    const run = async (): Promise<void> => ((await target.state()) === 'paused' ? target.unpause() : undefined);
    return { did: 'paused', end: { word: 'unpaused', run } };
  },
  unpause: async (_, target) => {
    await target.unpause();
    return { did: 'unpaused' };
  },
  cut: ({ oneWay }, target, other) => (other === undefined ? cutFromAll(target, oneWay) : cutFrom(target, other, oneWay)),
  slow: async ({ amount }, target) => {
    const fault = `slow by ${amount}ms`;
    const means = await target.delayBy(amount, fault);
    return { did: `${fault}, with ${means}`, end: healed(target, fault) };
  },
  lose: async ({ amount }, target) => {
    const fault = `loses ${amount}%`;
    await target.lose(amount, fault);
    return { did: `${fault}, by chance, with the packet filter`, end: healed(target, fault) };
  },
  'fill-disk': async (_, target) => {
    const folders = await target.dataFolders();
    if (folders.length === 0) throw new UsageError(`${target.name} has no volume: its disk cannot be full`);
    await target.fillDisk();
    return {
      did: `full: no file in ${folders.join(' or ')} grows`,
      end: { word: 'has room again', run: () => target.emptyDisk() },
    };
  },
  clock: async ({ amount }, target) => {
    await target.shiftClock(amount);
    const did = `restarted, its clock ${Math.abs(amount)} s ${amount < 0 ? 'slow' : 'fast'}`;
    return { did, end: { word: 'restarted with the right clock', run: () => target.resetClock() } };
  },
};

async function cutFromAll(target: Target, oneWay: boolean): Promise<Struck> {
  const fault = oneWay ? 'heard by nobody' : 'cut from all';
  await target.partition(oneWay ? ['sends'] : ['hears', 'sends'], fault);
  return { did: fault, end: healed(target, fault) };
}

const deafTo = ({ name }: Target): string => `deaf to ${name}`;

/** Each end drops what the other sends. */
async function cutFrom(target: Target, other: Target, oneWay: boolean): Promise<Struck> {
  const cuts = [[other, target], ...(oneWay ? [] : [[target, other]])] as [Target, Target][];
  for (const [deaf, to] of cuts) await deaf.deafTo(to, deafTo(to));
  const run = async (): Promise<void> => {
    for (const [deaf, to] of cuts) await healIfThere(deaf, deafTo(to));
  };
  return { did: oneWay ? `not heard by ${other.name}` : `cut from ${other.name}`, end: { word: 'healed', run } };
}

/** Ends what `faultsIn` has found; how that is called. */
async function mended(target: Target, fault: string): Promise<string> {
  if (fault.startsWith('clock')) return target.resetClock().then(() => 'restarted with the right clock');
  if (fault === 'disk full') return target.emptyDisk().then(() => 'has room again');
  return target.heal(fault).then(() => `healed: ${fault}`);
}

/** Ctrl-C, or that somebody ends this process in another way. */
const interrupted = new AbortController();
const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

let signalCount = 0;

function onSignal(signal: keyof typeof signals): void {
  signalCount += 1;
  process.exitCode = signals[signal];
  interrupted.abort();
}

/** A signal for us and for Docker's client comes to both within moments. */
const settleMs = 200;

/**
 * Ends a fault. Ctrl-C reaches Docker's client too, and Nx then sends SIGTERM to all that it has started, upon which the client ends as if all were
 * done: so it is done once more. The terminal may be gone.
 */
async function ended(end: NonNullable<Struck['end']>): Promise<void> {
  for (let seen = -1; seen !== signalCount;) {
    seen = signalCount;
    await end.run().catch(async (error: unknown) => {
      await wait(settleMs);
      if (seen === signalCount) throw error;
    });
    if (signalCount > 0) await wait(settleMs);
  }
}

/** Waits so long, or until Ctrl-C. */
const pass = (ms: number): Promise<void> => wait(ms, undefined, { signal: interrupted.signal }).catch(() => undefined);

const seconds = (ms: number): string => `${ms / 1_000} s`;

class Breaker {
  readonly #app: string;
  readonly #project: string;
  readonly #journal: Journal;

  constructor(directory: string) {
    this.#app = basename(directory);
    this.#project = projectOf(directory);
    this.#journal = new Journal(directory);
  }

  async run(order: Order): Promise<void> {
    const targets = await targetsOf(this.#project);
    if (targets.length === 0) {
      say(`${this.#project} is not up: npx nx up ${this.#app}`);
      process.exitCode = 3;
    } else if (order.verb === 'list') await this.#list(targets);
    else if (order.verb === 'heal') await this.#heal(order.targets.length === 0 ? targets : this.#find(targets, order));
    else if (order.verb === 'random') await this.#random(targets, order);
    else await this.#once(targets, order);
  }

  #find(targets: readonly Target[], order: Order): Target[] {
    const names = targets.map(({ name }) => name);
    return order.targets.map((wanted) => targets[findTarget(names, wanted)]!);
  }

  async #strike(targets: readonly Target[], order: Order): Promise<Struck & { target: Target; id: string }> {
    const [target, other] = this.#find(targets, order) as [Target, Target | undefined];
    const mayBeStopped = ['start', 'unpause'].includes(order.verb);
    for (const each of [target, other])
      if (each?.trouble !== undefined && each.trouble !== 'unhealthy' && !mayBeStopped)
        throw new Error(`${each.name} is ${each.trouble}: npx nx break ${this.#app} heal ${each.name}`);
    try {
      const struck = await strikes[order.verb as keyof typeof strikes](order, target, other);
      return { ...struck, target, id: this.#journal.struck(target.name, order.verb, struck.did) };
    } catch (error) {
      // What Ctrl-C has stopped halfway is ended, too.
      if (signalCount > 0)
        await ended({ word: 'healed', run: () => this.#heal([target, ...(other === undefined ? [] : [other])]) });
      throw error;
    }
  }

  async #once(targets: readonly Target[], order: Order): Promise<void> {
    const { did, end, target, id } = await this.#strike(targets, order);
    if (end === undefined) return console.log(`${target.name} ${did}`);
    if (order.keep) return console.log(`${target.name} ${did}; npx nx break ${this.#app} heal ${target.name} ends it`);
    console.log(`${target.name} ${did}; ${end.word} in ${seconds(order.forMs)} (Ctrl-C: now)`);
    await pass(order.forMs);
    await ended(end);
    this.#journal.ended(target.name, end.word, id);
    console.log(`${target.name} ${end.word}`);
  }

  async #random(targets: readonly Target[], { seed = randomInt(1_000_000), forMs }: Order): Promise<void> {
    const startMs = performance.now();
    const names = targets.map(({ name }) => name);
    const tell = (what: string): void =>
      console.log(`${((performance.now() - startMs) / 1_000).toFixed(1).padStart(6)} s  ${what}`);
    console.log(`seed ${seed}, ${seconds(forMs)}, of ${names.join(', ')} (Ctrl-C ends it)`);
    for (const { order, calmMs } of planned(seed, forMs, names)) {
      await pass(calmMs);
      // One that was ended by the last fault, as its engine was away, may be starting still.
      if (!interrupted.signal.aborted) for (const target of this.#find(targets, order)) await target.healthy();
      const leftMs = forMs - (performance.now() - startMs);
      if (interrupted.signal.aborted || leftMs <= 0) return;
      const { did, end, target, id } = await this.#strike(await targetsOf(this.#project), order);
      // A busy engine takes its time: what it has cost is not added.
      const lastsMs = Math.min(order.forMs, leftMs);
      tell(`${target.name} ${did}${end === undefined ? '' : ` for ${(lastsMs / 1_000).toFixed()} s`}`);
      if (end === undefined) continue;
      await pass(lastsMs);
      await ended(end);
      this.#journal.ended(target.name, end.word, id);
      tell(`${target.name} ${end.word}`);
    }
  }

  async #list(targets: readonly Target[]): Promise<void> {
    const faults = await faultsIn(targets.flatMap(({ pid }) => (pid > 0 ? [pid] : [])));
    const width = Math.max(...targets.map(({ name }) => name.length));
    for (const { name, trouble, pid, addresses } of targets) {
      const wrong = [...(trouble === undefined ? [] : [trouble]), ...(faults.get(pid) ?? [])];
      console.log(`${name.padEnd(width)}  ${[wrong.join('; ') || 'whole', ...addresses].join('  ')}`);
    }
  }

  /** First what does not run: only what runs can be looked into. */
  async #heal(targets: readonly Target[]): Promise<void> {
    let ended = 0;
    const tell = (target: Target, what: string): void => {
      ended += 1;
      this.#journal.ended(target.name, what);
      console.log(`${target.name} ${what}`);
    };
    const mend = async (target: Target): Promise<void> => {
      if (target.trouble === 'paused') return target.unpause().then(() => tell(target, 'unpaused'));
      if (target.pid > 0) return;
      // It may end at every start just because of that.
      if ((await docker('diff', target.id)).includes('/lab-break/full')) await target.emptyDisk();
      await target.start().then(() => tell(target, 'started'));
    };
    await Promise.all(targets.map(mend));
    const ids = new Set(targets.map(({ id }) => id));
    const running = (await targetsOf(this.#project)).filter(({ pid }) => pid > 0);
    const faults = await faultsIn(running.map(({ pid }) => pid));
    // Between two each has a half of the cut.
    const halves = new Set(targets.map(deafTo));
    await Promise.all(
      running.map(async (target) => {
        const wrong = (faults.get(target.pid) ?? []).filter((fault) => ids.has(target.id) || halves.has(fault));
        for (const fault of wrong) tell(target, await mended(target, fault));
      }),
    );
    if (ended === 0) console.log('nothing is broken');
  }
}

async function main(args: readonly string[]): Promise<void> {
  const directory = process.cwd();
  if (args.length === 0 || args.some((arg) => ['help', '--help', '-h'].includes(arg)))
    return console.log(help(basename(directory)));
  const order = parse(args);
  await ensureEngine();
  process.stdout.on('error', () => undefined);
  for (const signal of Object.keys(signals) as (keyof typeof signals)[]) process.on(signal, onSignal);
  await new Breaker(directory).run(order);
}

if (import.meta.main) {
  await main(process.argv.slice(2)).catch((error: Error) => {
    say(error.message);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  });
}
