/** A load on a made system in memory, which keeps what it acknowledges, or does not. */
import { EventEmitter } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { eventually } from './eventually.ts';
import { ledger } from './ledger.ts';
import { loadProgram, runLoad, type LoadProcess, type LoadSettings } from './load-program.ts';
import { Load, Promised, Refused, type LoadClient, type Workload } from './load.ts';

/** What it is asked to keep are numbers. */
class Shelf implements Workload {
  readonly #lost = new Promised('what is acknowledged is kept', 'numbers found again');
  readonly promises = [this.#lost];
  readonly kept = new Set<number>();
  readonly acknowledged = new Set<number>();
  #next = 0;
  /** Called with each number before it is kept. */
  takes: (number: number) => void | Promise<void> = () => undefined;
  looks: () => void = () => undefined;
  connects: (client: number) => void = () => undefined;

  async connect(client: number): Promise<LoadClient> {
    this.connects(client);
    const operate = async (): Promise<void> => {
      const number = ++this.#next;
      await this.takes(number);
      this.kept.add(number);
      this.acknowledged.add(number);
    };
    return { operate };
  }

  async check(): Promise<void> {
    this.looks();
    this.#lost.anew();
    for (const number of this.acknowledged)
      if (this.kept.has(number)) this.#lost.holds();
      else this.#lost.breaks(`${number} is gone`);
  }
}

const fast: LoadSettings = { rate: 500, clients: 3, patienceMs: 5_000 };
const keptOf = (verdicts: readonly { kept: boolean | null }[]): unknown[] => verdicts.map(({ kept }) => kept);

describe('a load', () => {
  it('judges a system that keeps its promise', async () => {
    await using load = new Load(new Shelf(), fast);
    await load.goesOn();
    expect(keptOf(load.soFar)).toEqual([null]);
    const [verdict] = await load.verdicts();
    expect(verdict).toMatchObject({
      kept: true,
      detail: `${load.counts.acknowledged} of ${load.counts.acknowledged} numbers found again`,
    });
  });

  it('tells for how long nothing was acknowledged', async () => {
    const shelf = new Shelf();
    const { promise: healed, resolve: heal } = Promise.withResolvers<void>();
    await using load = new Load(shelf, { ...fast, clients: 1 });
    await load.goesOn();
    shelf.takes = () => healed;
    const [brokenMs, brokenAt] = [performance.now(), Date.now()];
    await eventually(() => performance.now() - brokenMs > 100);
    heal();
    await load.goesOn();
    expect(load.longestWaitMs).toBeGreaterThan(90);
    expect(Math.abs(load.longestWaitFrom.getTime() - brokenAt)).toBeLessThan(load.longestWaitMs);
  });

  it('finds what was acknowledged and is lost, and names it', async () => {
    const shelf = new Shelf();
    await using load = new Load(shelf, fast);
    await load.goesOn();
    shelf.kept.delete(2);
    const [verdict] = await load.verdicts();
    expect(verdict!.kept).toBe(false);
    expect(verdict!.detail).toMatch(/^\d+ of \d+ numbers found again\n2 is gone$/);
  });

  it('takes no refusal and no error for a broken promise, and tells them apart', async () => {
    const shelf = new Shelf();
    shelf.takes = (number) => {
      if (number === 1) throw new Refused('full');
      if (number === 2) throw new Error('the connection broke');
    };
    shelf.connects = (client) => {
      shelf.connects = () => undefined;
      throw new Error(`nobody listens to ${client}`);
    };
    await using load = new Load(shelf, fast);
    await load.goesOn();
    expect(keptOf(await load.verdicts())).toEqual([true]);
    expect(load.counts).toMatchObject({ refused: 2, unknown: 1 });
    expect(Object.fromEntries(load.reasons)).toEqual({ full: 1, 'the connection broke': 1, 'nobody listens to 1': 1 });
  });

  it('lets arrivals wait, and no more than one operation of a client be in hand', async () => {
    const shelf = new Shelf();
    const gate = Promise.withResolvers<void>();
    shelf.takes = () => gate.promise;
    await using load = new Load(shelf, fast);
    await eventually(() => load.waiting > 10);
    expect(await load.amidWork()).toBe(3);
    gate.resolve();
    await load.stop();
    expect(load.inHand).toBe(0);
  });

  it('waits until the system takes work again, and looks again when the check finds it away', async () => {
    const shelf = new Shelf();
    await using load = new Load(shelf, fast);
    await load.goesOn();
    const said: string[] = [];
    const awayOnce = (who: string) => () => {
      if (said.includes(who)) return;
      said.push(who);
      throw new Error('away');
    };
    [shelf.takes, shelf.looks] = [awayOnce('the system'), awayOnce('the check')];
    expect(keptOf(await load.verdicts())).toEqual([true]);
    expect(said).toEqual(['the system', 'the check']);
  });

  it('ends in time with its reason where the system stays away, and has judged nothing', async () => {
    const shelf = new Shelf();
    await using load = new Load(shelf, { ...fast, patienceMs: 300 });
    await load.goesOn();
    shelf.takes = () => Promise.reject(new Error('paused'));
    await expect(load.verdicts()).rejects.toThrow('not within 0.3 s: the system takes no operation: paused');
    expect(keptOf(load.soFar)).toEqual([null]);
  });

  it('gives up what hangs although the system takes work, as unknown', async () => {
    const shelf = new Shelf();
    const hung = Promise.withResolvers<void>();
    shelf.takes = (number) => (number === 1 ? hung.promise : undefined);
    await using load = new Load(shelf, { ...fast, patienceMs: 300 });
    await eventually(() => load.counts.acknowledged > 3);
    expect(keptOf(await load.verdicts())).toEqual([true]);
    hung.reject(new Error('too late'));
    await load[Symbol.asyncDispose]();
    expect(load.counts.unknown).toBe(1);
    expect(load.reasons.get('it did not end')).toBe(1);
  });

  it('keeps no promise of which nothing was looked at', async () => {
    const shelf = new Shelf();
    shelf.promises.push(new Promised('nobody is overtaken', 'pairs in order'));
    await using load = new Load(shelf, fast);
    expect(keptOf(await load.verdicts())).toEqual([true, null]);
  });
});

const folder = mkdtempSync(join(tmpdir(), 'load-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

/** A program on a made process; what it has printed, and the last that it wrote into its ledger. */
class Terminal extends EventEmitter implements LoadProcess {
  argv: readonly string[] = [];
  printed = '';
  readonly file = join(folder, `tmp/${++files}.json`);
  readonly stdout = { write: (text: string): string => (this.printed += text) };
  readonly stderr = this.stdout;
  run = (shelf: Shelf, settings: Partial<LoadSettings> = {}): Promise<number> =>
    runLoad(shelf, { ...fast, ...settings }, this, this.file);
  ledger = () => ledger.parse(JSON.parse(readFileSync(this.file, 'utf8')));
}

describe('the program', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('judges at Ctrl-C, prints what is missing, and writes it down', async () => {
    const [terminal, shelf] = [new Terminal(), new Shelf()];
    const code = terminal.run(shelf);
    await eventually(() => shelf.kept.size > 3 && existsSync(terminal.file));
    expect(terminal.ledger()).toMatchObject({ state: 'working', promises: [{ kept: null }] });
    shelf.kept.delete(3);
    terminal.emit('SIGINT');
    terminal.emit('SIGTERM');
    expect(await code).toBe(1);
    expect(terminal.printed).toMatch(/what is acknowledged is kept {2}BROKEN +\d+ of \d+ numbers found again\n {2}3 is gone\n/);
    expect(terminal.ledger()).toMatchObject({ state: 'done', promises: [{ kept: false }] });
  });

  it('ends with 0 when its time is over and all is kept, and with 3 where it could not judge', async () => {
    expect(await new Terminal().run(new Shelf(), { forMs: 20 })).toBe(0);
    const [terminal, shelf] = [new Terminal(), new Shelf()];
    shelf.connects = () => {
      throw new Error('nobody listens');
    };
    expect(await terminal.run(shelf, { forMs: 20, patienceMs: 200 })).toBe(3);
    expect(terminal.printed).toMatch(/what is acknowledged is kept {2}not judged/);
    expect(terminal.printed).toContain('not judged: not within 0.2 s: the system takes no operation: nobody listens');
  });

  it('judges where its ledger cannot be written, and says that once', async () => {
    const [terminal, shelf] = [new Terminal(), new Shelf()];
    mkdirSync(terminal.file, { recursive: true });
    const code = terminal.run(shelf);
    await eventually(() => shelf.kept.size > 3);
    shelf.kept.delete(3);
    terminal.emit('SIGINT');
    expect(await code).toBe(1);
    expect(terminal.printed.match(/^not written down: .*$/gm)).toEqual([expect.stringContaining('EISDIR')]);
  });

  it('ends with 3 where the system is up, and its workload cannot be opened', async () => {
    const programs = join(folder, 'programs');
    mkdirSync(programs);
    writeFileSync(join(programs, 'docker'), '#!/bin/sh\necho a container\n', { mode: 0o755 });
    vi.stubEnv('PATH', `${programs}${delimiter}${process.env['PATH']}`);
    const terminal = Object.assign(new Terminal(), { argv: ['node', 'load.ts'] });
    const open = () => Promise.reject(new Error('nobody listens'));
    const directory = join(import.meta.dirname, '..');
    expect(await loadProgram({ directory, operation: 'keeps a number', rate: 5, clients: 3, open }, terminal)).toBe(3);
    expect(terminal.printed).toBe('nobody listens\n');
  });

  it('leaves at the second Ctrl-C with what it knows', async () => {
    const [terminal, shelf] = [new Terminal(), new Shelf()];
    shelf.takes = () => Promise.reject(new Error('paused'));
    const code = terminal.run(shelf);
    terminal.emit('SIGINT');
    const impatient = setInterval(() => terminal.emit('SIGINT'), 100);
    expect(await code.finally(() => clearInterval(impatient))).toBe(130);
  });

  it.each([
    [['--rate', '0'], '--rate is a number from 0.01 to 1000, not "0"'],
    [['--rate', '-3'], '--rate is a number from 0.01 to 1000, not "-3"'],
    [['--for', '-3s'], 'not "-3s"'],
    [['--clients', ''], '--clients is a number from 1 to 100, not ""'],
    [['--for', '5'], '--for is a time, as 500ms, 10s, 2m, 1h, not "5"'],
    [['--fro', '5'], "Unknown option '--fro'"],
  ])('refuses %j with the way out', async (args, problem) => {
    const terminal = Object.assign(new Terminal(), { argv: ['node', 'load.ts', ...args] });
    const program = {
      directory: join(import.meta.dirname, '..'),
      operation: 'keeps a number',
      rate: 5,
      clients: 3,
      open: () => new Shelf(),
    };
    expect(await loadProgram(program, terminal)).toBe(2);
    expect(terminal.printed).toContain(problem);
  });
});
