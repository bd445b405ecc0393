/** The system that `npx nx up APP` has started, as it can be seen from outside: by Docker's events, the lines of its containers, the journal of faults, and what the broker counts. */
import { spawn, type ChildProcess } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { ExitError, exitCodes } from '@lab/process';
import { ledger, ledgerFile } from '@lab/testing/ledger';
import { projectOf, spawnLogs } from '../../../docker/compose.ts';
import { docker } from '../../../docker/container.ts';
import { journalFile } from '../../../docker/journal.ts';
import { targetsOf, type Target } from '../../../docker/targets.ts';
import { parse, verbs } from '../../../docker/verbs.ts';
import { dockerLine, eventsOfDocker, FaultJournal, journalLine, type DockerLine } from './docker-events.ts';
import { Feed } from './feed.ts';
import { instanceOf } from './model.ts';
import type { Breakable } from './live.ts';
import type { Known } from './recording.ts';
import { ownMetrics, QueueCounts } from './metrics.ts';
import { eventsOf, spanBatch, Words, type LiveEvent } from './spans.ts';

/** Of a system that has run for longer, the page begins so long ago. */
const pastMs = 120_000;
const countsMs = 2_000;
const filesMs = 500;
/** What has ended, as the engine was restarted, is begun again. */
const againMs = 1_000;
/** Faults that were begun by a button and last. */
const strikesMax = 20;

export interface Running {
  readonly feed: Feed;
  readonly breakable: Breakable;
  /** Nobody counts what nobody sees. */
  follow(this: void, isAnybodyThere: () => boolean): void;
  /** Ends what was broken by a button, too. */
  close(this: void): Promise<void>;
}

/** The system of the app in this folder: what `up` has started, or those of its containers that have another project's name. */
export async function watchRunning(directory: string, project = projectOf(directory)): Promise<Running> {
  const system = basename(directory);
  const nowMs = Date.now();
  const targets = await targetsOf(project).catch((error: Error) => {
    throw new ExitError(`Docker does not answer: ${error.message}`, exitCodes.unavailable);
  });
  if (targets.length === 0)
    throw new ExitError(
      `${project} is not up: npx nx up ${system}; or --replay FILE shows a recorded run`,
      exitCodes.unavailable,
    );
  const startMs = Math.max(
    nowMs - pastMs,
    Math.min(nowMs, ...targets.filter(({ pid }) => pid > 0).map(({ startedMs }) => startedMs)),
  );
  // Containers tell a sample of their spans, and what was in a queue before is told by none.
  const feed = new Feed({ system, startMs, tells: 'some', known: knownOf(targets) });
  const watcher = new Watcher({ directory, project, feed, targets, startMs, lookedMs: nowMs });
  const strikes = new Strikes(directory);
  return {
    feed,
    breakable: {
      breaking: { command: `npx nx break ${system}`, verbs },
      strike: (words) => strikes.strike(words),
      metricsOf: (role) => watcher.metricsOf(role),
    },
    follow: (isAnybodyThere) => watcher.start(isAnybodyThere),
    close: async () => {
      watcher.close();
      await strikes.close();
    },
  };
}

/** What the labels of containers tell. */
function knownOf(targets: readonly Target[]): Known {
  const groups = targets.map(({ name, flowsTo, serves }) => ({ group: instanceOf(name).group, flowsTo, serves }));
  const flows = new Map(groups.flatMap(({ group, flowsTo }) => (flowsTo === undefined ? [] : [[group, flowsTo]])));
  const serves = groups.flatMap(({ group, serves }) => (serves === undefined ? [] : [[serves, group]]));
  return { flows: [...flows], serves: Object.fromEntries(serves) as Record<string, string> };
}

interface WatcherParts {
  readonly directory: string;
  readonly project: string;
  readonly feed: Feed;
  readonly targets: readonly Target[];
  readonly startMs: number;
  /** When the targets were looked at. */
  readonly lookedMs: number;
}

class Watcher {
  readonly #directory: string;
  readonly #project: string;
  readonly #feed: Feed;
  readonly #startMs: number;
  readonly #lookedMs: number;
  readonly #words = new Words();
  readonly #journal = new FaultJournal();
  readonly #ended = new AbortController();
  #isDown = false;
  /** By the names of their containers. */
  readonly #targets = new Map<string, Target>();

  constructor({ directory, project, feed, targets, startMs, lookedMs }: WatcherParts) {
    this.#directory = directory;
    this.#project = project;
    this.#feed = feed;
    this.#startMs = startMs;
    this.#lookedMs = lookedMs;
    this.#know(targets);
    feed.push(targets.flatMap((target) => this.#before(target)));
  }

  /** What is so since before the page's beginning. */
  #before({ name, pid, startedMs, trouble }: Target): LiveEvent[] {
    const who = { role: name, atMs: Math.max(startedMs, this.#startMs) };
    if (pid === 0) return [{ ...who, type: 'end', reason: trouble ?? 'stopped' }];
    const paused: LiveEvent = { ...who, type: 'fault', key: 'paused', arg: 0, message: '', trouble: 'hung' };
    return [{ ...who, type: 'start' }, ...(trouble === 'paused' ? [paused] : [])];
  }

  start(isAnybodyThere: () => boolean): void {
    const since = (this.#startMs / 1_000).toFixed(3);
    const filter = `label=com.docker.compose.project=${this.#project}`;
    const listen = async (from: string): Promise<ChildProcess & { stdout: Readable }> => {
      const args = ['events', '--format', '{{json .}}', '--filter', filter, '--filter', 'type=container', '--since', from];
      return spawn('docker', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    };
    // Docker remembers few events of the past; what is so now was told by the targets.
    void this.#lines((this.#lookedMs / 1_000).toFixed(3), listen, (line) => this.#happened(line));
    void this.#lines(
      since,
      (from) => spawnLogs(this.#directory, ['--follow', '--since', from], { complaints: 'ignore', project: this.#project }),
      (line) => this.#said(line),
    );
    if (this.#project === projectOf(this.#directory)) {
      void this.#journalled();
      void this.#each(filesMs, () => this.#readLedger());
    }
    void this.#each(countsMs, async () => (isAnybodyThere() ? this.#count() : undefined));
  }

  close(): void {
    this.#ended.abort();
  }

  /** Each line of a program, which is begun again when it has ended. */
  async #lines(
    since: string,
    begin: (since: string) => Promise<ChildProcess & { stdout: Readable }>,
    take: (line: string) => void | Promise<void>,
  ): Promise<void> {
    const { signal } = this.#ended;
    for (let from = since; !signal.aborted; from = (Date.now() / 1_000).toFixed(3)) {
      const child = await begin(from);
      const end = (): void => void child.kill();
      signal.addEventListener('abort', end);
      child.once('error', () => undefined);
      for await (const line of createInterface({ input: child.stdout })) await take(line);
      signal.removeEventListener('abort', end);
      await this.#pass(againMs);
    }
  }

  #pass(ms: number): Promise<void> {
    return wait(ms, undefined, { signal: this.#ended.signal }).catch(() => undefined);
  }

  /** Again and again; what fails once, as its container is away, may succeed the next time. */
  async #each(ms: number, run: () => Promise<void>): Promise<void> {
    while (!this.#ended.signal.aborted) {
      await run().catch(() => undefined);
      await this.#pass(ms);
    }
  }

  async #happened(text: string): Promise<void> {
    const line = dockerLine.safeParse(jsonIn(text)).data;
    if (line === undefined) return;
    const target = await this.#targetOf(line);
    if (target === undefined) return;
    if (line.Action === 'start') this.#isDown = false;
    // What ends with all the others was not broken.
    if (!this.#isDown) this.#feed.push(eventsOfDocker(line, target.name));
    else if (line.Action === 'die') this.#feed.push([{ type: 'end', role: target.name, atMs: Date.now(), reason: 'taken down' }]);
  }

  /** One that is new has its name from then on. */
  #know(targets: readonly Target[]): void {
    for (const target of targets) {
      this.#targets.set(target.id, target);
      for (const address of target.addresses) this.#feed.servesAt(target.name, address);
    }
  }

  async #targetOf({ Action, Actor: { Attributes } }: DockerLine): Promise<Target | undefined> {
    const container = Attributes['name'] ?? '';
    if (!this.#targets.has(container) && Action === 'start') {
      const targets = await targetsOf(this.#project).catch(() => []);
      this.#know(targets);
    }
    return this.#targets.get(container);
  }

  /** `counter-1  | 2026-01-31T12:00:00.123456789Z {"resourceSpans":…}` */
  #said(line: string): void {
    const [, container = '', time = '', text = ''] =
      /^(\S+)\s*\| (\S+Z) (\{"resourceSpans".*)$/.exec(line.replaceAll('\x1b[2K', '')) ?? [];
    const batch = text === '' ? undefined : spanBatch.safeParse(jsonIn(text)).data;
    if (batch === undefined) return;
    const name = this.#targets.get(`${this.#project}-${container}`)?.name;
    this.#feed.push(withRightClock(eventsOf(batch, this.#words, name), Date.parse(time)));
  }

  /** The journal, from its beginning, and what is added to it. `up` begins it anew. */
  async #journalled(): Promise<void> {
    let position = 0;
    let rest = '';
    await this.#each(filesMs, async () => {
      const file = await open(join(this.#directory, journalFile));
      try {
        const { size } = await file.stat();
        if (size < position) [position, rest] = [0, ''];
        const { buffer, bytesRead } = await file.read(Buffer.alloc(size - position), 0, size - position, position);
        position += bytesRead;
        const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split('\n');
        rest = lines.pop()!;
        const read = lines.flatMap((line) => journalLine.safeParse(jsonIn(line)).data ?? []);
        // One of before this page was looked at is over.
        if (read.some(({ event, atMs }) => event === 'down' && atMs > this.#lookedMs)) this.#goesDown();
        this.#feed.push(read.flatMap((line) => this.#journal.eventsOf({ ...line, atMs: Math.max(line.atMs, this.#startMs) })));
      } finally {
        await file.close();
      }
    });
  }

  #goesDown(): void {
    this.#isDown = true;
    console.error(`${this.#project} is being taken down; its page stays until Ctrl-C, and shows what the next up starts`);
  }

  async #readLedger(): Promise<void> {
    const said = ledger.parse(JSON.parse(await readFile(join(this.#directory, ledgerFile), 'utf8')));
    // One of an earlier load is no promise of now.
    if (said.atMs >= this.#startMs && said.atMs !== this.#feed.ledger?.atMs) this.#feed.setLedger(said);
  }

  readonly #counts = new QueueCounts();
  /** Of the start of the broker that has been asked to count. */
  #countsSinceMs = 0;

  async #count(): Promise<void> {
    const target = [...this.#targets.values()].find(({ service }) => service === 'rabbitmq');
    if (target === undefined) return;
    const families = ['queue_coarse_metrics', 'channel_queue_metrics'].map((family) => `family=${family}`).join('&');
    const text = await get(target, 15_692, `/metrics/detailed?${families}`).catch(async (error: Error) => {
      // Only who is looked at counts. It is asked once in its life: an Erlang machine takes seconds to start.
      const [current] = (await targetsOf(this.#project)).filter(({ id }) => id === target.id);
      if (current === undefined || current.startedMs === this.#countsSinceMs) throw error;
      await docker('exec', target.id, 'rabbitmq-plugins', 'enable', '--quiet', 'rabbitmq_prometheus');
      this.#countsSinceMs = current.startedMs;
      throw error;
    });
    const atMs = Date.now();
    this.#feed.pushDepths(atMs, this.#counts.next(text, atMs));
  }

  async metricsOf(role: string): Promise<Record<string, number>> {
    const target = [...this.#targets.values()].find(({ name }) => name === role);
    if (target?.healthPort === undefined) return {};
    // Who is dead or hangs tells nothing.
    return get(target, target.healthPort, '/metrics').then(ownMetrics, () => ({}));
  }
}

/** An answer is there at once, or its container hangs. */
const answerSeconds = 3;

/** Asks inside a container, where a port need not be published. */
async function get({ id }: Target, port: number, path: string): Promise<string> {
  const script = 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET %s HTTP/1.0\\r\\n\\r\\n" "$1" >&3 && cat <&3';
  const said = await docker('exec', id, 'timeout', String(answerSeconds), 'bash', '-c', script, String(port), path);
  const [head = '', ...body] = said.split(/\r?\n\r?\n/);
  if (!/^HTTP\/1\.\d 200/.test(head)) throw new Error(`${id} answers ${head.split('\n')[0]}`);
  return body.join('\n');
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A role's spans come this late where it hung; beyond it is its clock that is wrong. */
const lateMs = 600_000;
const earlyMs = 1_000;

/** A fault may set the clock of a container; the engine's tells when it was said. */
function withRightClock(events: LiveEvent[], saidMs: number): LiveEvent[] {
  const lastMs = Math.max(...events.map(({ atMs }) => atMs));
  if (lastMs <= saidMs + earlyMs && lastMs >= saidMs - lateMs) return events;
  return events.map((event) => ({ ...event, atMs: event.atMs + saidMs - lastMs }));
}

/** Faults by a button: each is a command of its own, which ends it, too. */
class Strikes {
  readonly #directory: string;
  readonly #children = new Set<ChildProcess>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Resolves with what it says when the fault has struck, or, of what is over at once, when it is done. */
  async strike(words: readonly string[]): Promise<string> {
    parse(words);
    if (this.#children.size >= strikesMax) throw new Error(`${strikesMax} faults last already: heal some of them`);
    const child = spawn(process.execPath, [join(import.meta.dirname, '../../../docker/break.ts'), ...words], {
      cwd: this.#directory,
      // Ctrl-C on the page's terminal is told to it by us.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return new Promise((resolve, reject) => {
      let [out, err] = ['', ''];
      child.stderr.on('data', (part: Buffer) => (err += part.toString()));
      child.stdout.on('data', (part: Buffer) => {
        out += part.toString();
        const lasting = /^(.*) \(Ctrl-C: now\)$/m.exec(out)?.[1];
        if (lasting !== undefined) resolve(lasting);
      });
      child.once('error', reject);
      child.once('close', (code) =>
        code === 0 ? resolve(out.trim()) : reject(new Error(err.trim() || `it ended with ${code}`)),
      );
    });
  }

  /** Whatever lasts ends. */
  async close(): Promise<void> {
    await Promise.all(
      [...this.#children].map((child) => {
        child.kill('SIGINT');
        return new Promise((resolve) => child.once('close', resolve));
      }),
    );
  }
}
