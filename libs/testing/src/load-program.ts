/** `npx nx load APP`: a load on the system that `npx nx up APP` has started, until its time is over or Ctrl-C, and then what became of each promise. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { isUp, portIn, projectOf } from '../../../docker/compose.ts';
import { ledgerFile, type Ledger, type Verdict } from './ledger.ts';
import { Load, part, type LoadOptions, type Workload } from './load.ts';

/** The system that `npx nx up APP` has started. */
export interface RunningSystem {
  readonly project: string;
  /** Of this machine, at which the compose file publishes its entry. */
  readonly port: number;
}

/** What an app gives. */
export interface LoadProgram {
  /** Of the app. */
  readonly directory: string;
  /** What a client does, in half a sentence: `counts a text`. */
  readonly operation: string;
  /** Where no other is asked for. */
  readonly rate: number;
  readonly clients: number;
  readonly open: (system: RunningSystem) => Workload | Promise<Workload>;
}

/** The part of `process` that it needs. */
export interface LoadProcess {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly stderr: { write(text: string): unknown };
  on(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown;
}

/** `unavailable`: what cannot be judged, as the system is away. They mean what they mean in @lab/process, which stands above this library. */
const exitCodes = { ok: 0, broken: 1, usage: 2, unavailable: 3, interrupted: 130 };

/** Resolves with the exit code. A client that hangs may keep the process alive then: `process.exit(await loadProgram(…))`. */
export async function loadProgram(program: LoadProgram, os: LoadProcess): Promise<number> {
  const [app, project] = [basename(program.directory), projectOf(program.directory)];
  const args = os.argv.slice(2);
  if (args.some((arg) => ['help', '--help', '-h'].includes(arg))) {
    os.stdout.write(helpText(app, program));
    return exitCodes.ok;
  }
  try {
    const settings = settingsOf(args, program);
    if (os.env?.['NX_TASK_TARGET_TARGET'] !== undefined && !os.stdout.isTTY && settings.forMs === undefined)
      os.stderr.write(
        `outside of a terminal Nx ends this soon after Ctrl-C, unjudged: give it --for, or npm run -s -w @lab/${app} load\n`,
      );
    if (!(await isUp(project))) {
      os.stderr.write(`${project} is not up: npx nx up ${app}\n`);
      return exitCodes.unavailable;
    }
    const workload = await program.open({ project, port: portIn(program.directory) });
    return await runLoad(workload, settings, os, join(program.directory, ledgerFile));
  } catch (error) {
    // Nothing was judged.
    os.stderr.write(`${(error as Error).message}\n`);
    return error instanceof UsageError ? exitCodes.usage : exitCodes.unavailable;
  }
}

const helpText = (app: string, { operation, rate, clients }: LoadProgram): string => `Usage: npx nx load ${app} [options]

Each client ${operation}, again and again, until the time is over or Ctrl-C. Then every promise is checked; a second Ctrl-C
leaves before that. What is broken meanwhile (npx nx break ${app} help) may delay and refuse, and breaks no promise.

  --rate 5       so many in a second, whether those before are done or not (default ${rate})
  --clients 3    so many at once; what finds no client free waits (default ${clients})
  --for 2m       how long: 500ms, 10s, 2m, 1h (default: until Ctrl-C)

Exit code 0: all promises kept. 1: one is broken. 3: the system is not there, or takes no work.
`;

class UsageError extends Error {}

export interface LoadSettings extends LoadOptions {
  /** Default: until it is interrupted. */
  readonly forMs?: number;
}

/** More is a matter for a bench. */
const [rateMax, clientsMax] = [1_000, 100];
const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

function settingsOf(args: readonly string[], { rate, clients }: LoadProgram): LoadSettings {
  const values = parsed(args);
  const forMs = values.for === undefined ? undefined : millisecondsOf(values.for);
  return {
    rate: values.rate === undefined ? rate : numberOf('--rate', values.rate, 0.01, rateMax),
    clients: values.clients === undefined ? clients : Math.floor(numberOf('--clients', values.clients, 1, clientsMax)),
    ...(forMs !== undefined && { forMs }),
  };
}

function parsed(args: readonly string[]) {
  try {
    const options = { rate: { type: 'string' }, clients: { type: 'string' }, for: { type: 'string' } } as const;
    // `-3` is a number that is wrong, not an option.
    const words = args.map((arg) => arg.replace(/^-(?=\d)/, ' -'));
    return parseArgs({ args: words, options }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function numberOf(flag: string, text: string, least: number, most: number): number {
  const number = text.trim() === '' ? NaN : Number(text);
  if (number >= least && number <= most) return number;
  throw new UsageError(`${flag} is a number from ${least} to ${most}, not "${text.trim()}"`);
}

function millisecondsOf(text: string): number {
  const [, number, unit] = /^(\d+)(ms|s|m|h)$/.exec(text) ?? [];
  if (number === undefined) throw new UsageError(`--for is a time, as 500ms, 10s, 2m, 1h, not "${text.trim()}"`);
  return Number(number) * units[unit as keyof typeof units];
}

const ledgerMs = 1_000;
const progressMs = 5_000;
/** One Ctrl-C comes again from npm and Nx, which pass it on. */
const echoMs = 500;

/** Works, judges, prints; resolves with the exit code. A first signal ends the work, a second one the judging. */
export async function runLoad(workload: Workload, settings: LoadSettings, os: LoadProcess, file: string): Promise<number> {
  await using load = new Load(workload, settings);
  const signals = new Signals(os);
  const book = new Book(load, settings, file, os);
  const pages = setInterval(() => void book.write(), ledgerMs);
  const lines = setInterval(() => os.stderr.write(`${book.line()}\n`), progressMs);
  try {
    // That it cannot be written is said at once; and that work has begun.
    await book.write();
    os.stderr.write(`${book.line()}\n`);
    const { forMs } = settings;
    await Promise.race([signals.first, ...(forMs === undefined ? [] : [wait(forMs)])]);
    book.state = 'checking';
    os.stderr.write(`${book.line()}\nchecking every promise (Ctrl-C: leave without)\n`);
    return await Promise.race([judge(load, os), signals.second.then(() => leave(load, os))]);
  } finally {
    clearInterval(pages);
    clearInterval(lines);
    book.state = 'done';
    await book.write();
    await part(workload);
  }
}

async function judge(load: Load, os: LoadProcess): Promise<number> {
  let problem: string | undefined;
  const verdicts = await load.verdicts().catch((error: unknown) => {
    problem = (error as Error).message;
    return load.soFar;
  });
  os.stdout.write(reportText(load, verdicts, problem === undefined ? 'no case' : 'not judged'));
  if (problem !== undefined) os.stderr.write(`not judged: ${problem}\n`);
  if (isBroken(verdicts)) return exitCodes.broken;
  return problem === undefined ? exitCodes.ok : exitCodes.unavailable;
}

function leave(load: Load, os: LoadProcess): number {
  os.stdout.write(reportText(load, load.soFar, 'not judged'));
  return isBroken(load.soFar) ? exitCodes.broken : exitCodes.interrupted;
}

const isBroken = (verdicts: readonly Verdict[]): boolean => verdicts.some(({ kept }) => kept === false);

/** Counts, then a line for each promise, and below it what exactly is missing. */
function reportText(load: Load, verdicts: readonly Verdict[], otherwise: string): string {
  const words = { true: 'kept', false: 'BROKEN', null: otherwise };
  const width = Math.max(...verdicts.map(({ promise }) => promise.length));
  const rows = verdicts.flatMap(({ promise, kept, detail }) => {
    const [counts, ...missing] = detail.split('\n');
    return [`${promise.padEnd(width)}  ${words[`${kept}`].padEnd(10)}  ${counts}`, ...missing.map((each) => `  ${each}`)];
  });
  const reasons = [...load.reasons].map(([reason, count]) => `  ${count} x ${reason}`);
  const from = load.longestWaitFrom.toTimeString().slice(0, 8);
  const longest = `  ${(load.longestWaitMs / 1_000).toFixed(1)} s at most without an acknowledged one, from ${from} on`;
  return [countsText(load), longest, ...reasons, ...rows, ''].join('\n');
}

const countsText = ({ counts }: Load): string =>
  `${counts.acknowledged} acknowledged, ${counts.refused} refused, ${counts.unknown} unknown`;

/** What is told of the load while it lasts: in the ledger for programs, in a line for people. */
class Book {
  readonly #load: Load;
  readonly #rate: number;
  readonly #file: string;
  readonly #os: LoadProcess;
  readonly #startedMs = Date.now();
  #last: Promise<void> = Promise.resolve();
  #hasComplained = false;
  state: Ledger['state'] = 'working';

  constructor(load: Load, { rate }: LoadSettings, file: string, os: LoadProcess) {
    this.#load = load;
    this.#rate = rate;
    this.#file = file;
    this.#os = os;
  }

  line(): string {
    const { inHand, waiting, waitsFor } = this.#load;
    const seconds = Math.round((Date.now() - this.#startedMs) / 1_000);
    const slow = this.state === 'working' && waiting > 0 ? `; slower than ${this.#rate}/s: ${waiting} wait` : '';
    const why = waitsFor === undefined ? '' : `; ${waitsFor}`;
    return `${String(seconds).padStart(4)} s  ${countsText(this.#load)}; ${inHand} in hand${slow}${why}`;
  }

  /** One after the other, each in place of the last. Never rejects: a full disk keeps nobody from judging. */
  write(): Promise<void> {
    this.#last = this.#last.then(() => this.#replace()).catch((error: Error) => this.#complain(error));
    return this.#last;
  }

  #complain({ message }: Error): void {
    if (!this.#hasComplained) this.#os.stderr.write(`not written down: ${message}\n`);
    this.#hasComplained = true;
  }

  async #replace(): Promise<void> {
    const page: Ledger = {
      version: 1,
      startedMs: this.#startedMs,
      atMs: Date.now(),
      state: this.state,
      counts: { ...this.#load.counts },
      promises: this.#load.soFar,
    };
    const part = `${this.#file}.part`;
    await mkdir(dirname(this.#file), { recursive: true });
    await writeFile(part, `${JSON.stringify(page)}\n`);
    await rename(part, this.#file);
  }
}

class Signals {
  readonly #first = Promise.withResolvers<void>();
  readonly #second = Promise.withResolvers<void>();
  readonly first = this.#first.promise;
  readonly second = this.#second.promise;
  #firstMs: number | undefined;

  constructor(os: LoadProcess) {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) os.on(signal, () => this.#on());
  }

  #on(): void {
    this.#firstMs ??= performance.now();
    this.#first.resolve();
    // Whoever means it again takes longer.
    if (performance.now() - this.#firstMs > echoMs) this.#second.resolve();
  }
}
