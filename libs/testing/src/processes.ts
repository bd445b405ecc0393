/** Programs in processes of their own, so that tests can kill them and benches can measure them. */
import { execFile, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from './eventually.ts';

/** What is kept of each stream: its end. */
const textLengthMax = 1024 * 1024;
/** On a busy machine a program needs seconds until it listens or says something. */
const startMs = 60_000;
/** From SIGTERM to SIGKILL. */
const stopMs = 10_000;

/** Starts Node with these arguments: a program's file, and the program's own. Its environment is this process's, unless another is given. */
export function startProcess(args: readonly string[], env: NodeJS.ProcessEnv = process.env): RunningProcess {
  return new RunningProcess(spawn(process.execPath, args, { env }), args.join(' '));
}

/**
 * Starts an app's demo, sends it SIGINT once it has printed such a line, and tells how it ended and what it left in its temporary folder. Rejects when it
 * had made nothing there by then: it would prove nothing.
 */
export async function interruptDemo(
  main: string,
  line: RegExp,
): Promise<{ code: number | null; stderr: string; left: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'demo-'));
  try {
    // A PostgreSQL that root starts is another user's, and has to get in.
    await chmod(folder, 0o755);
    await using demo = startProcess([main, 'demo'], { ...process.env, TMPDIR: folder });
    await demo.line(line);
    if ((await readdir(folder)).length === 0) throw new Error('the demo has nothing in its temporary folder yet');
    demo.signal('SIGINT');
    return { code: await demo.ended(), stderr: demo.stderr, left: await readdir(folder) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Runs the first example of a package's README that has its output below it; what is printed there, and what it prints. */
export async function runReadmeExample(directory: string): Promise<{ shown: string; printed: string }> {
  const text = readFileSync(join(directory, 'README.md'), 'utf8');
  const [, program, shown] = /```ts\n(.*?)```\n\n```text\n(.*?)```/s.exec(text)!;
  const args = ['--input-type=module-typescript', '--eval', program!];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: directory, timeout: startMs });
  return { shown: shown!, printed: stdout };
}

/** A process of a test. Dispose of it (`await using`) and it is gone. */
export class RunningProcess implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #command: string;
  readonly #closed: Promise<number | null>;
  #isOver = false;
  /** What it has written so far. */
  stdout = '';
  stderr = '';

  constructor(child: ChildProcessWithoutNullStreams, command: string) {
    this.#child = child;
    this.#command = command;
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout = (this.stdout + text).slice(-textLengthMax)));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr = (this.stderr + text).slice(-textLengthMax)));
    // Not every program reads what is written to it.
    child.stdin.on('error', () => undefined);
    this.#closed = once(child, 'close').then(([code]) => {
      this.#isOver = true;
      return code as number | null;
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** All that it has written, for people. */
  get output(): string {
    return this.stdout + this.stderr;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Writes to its standard input. */
  write(text: string): void {
    this.#child.stdin.write(text);
  }

  /** Ends its standard input. */
  endInput(): void {
    this.#child.stdin.end();
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Its exit code when it has ended and all that it wrote is here; `null` where a signal ended it. */
  ended(): Promise<number | null> {
    return this.#closed;
  }

  /** SIGKILL; resolves when it is dead. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#closed;
  }

  /** SIGTERM, and SIGKILL after 10 s; resolves with its exit code. */
  async stop(): Promise<number | null> {
    this.signal('SIGTERM');
    const late = setTimeout(() => this.signal('SIGKILL'), stopMs);
    return this.#closed.finally(() => clearTimeout(late));
  }

  /** The first whole line on its standard output that matches; rejects, with what it wrote, when it ends before. */
  line(pattern = /^/): Promise<string> {
    const find = (): string | undefined =>
      this.stdout
        .split('\n')
        .slice(0, -1)
        .find((line) => pattern.test(line));
    return this.#sees(`wrote a line with ${pattern}`, find);
  }

  /** Resolves when somebody may connect to the port of 127.0.0.1; rejects, with what it wrote, when it ends before. */
  async listening(port: number): Promise<void> {
    await this.#sees(`listened on port ${port}`, () => accepts(port));
  }

  /** The most memory that it has had, in MB; of a process that lives, on Linux. */
  get peakMb(): number {
    const peakKb = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1];
    return Number(peakKb) / 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #sees<T>(what: string, probe: () => T | undefined | Promise<T | undefined>): Promise<T> {
    const seen = await eventually(
      async () => {
        const isOver = this.#isOver;
        const value = await probe();
        if (value === undefined && !isOver) throw new Error(`${this.#command} has not ${what}; it said:\n${this.output}`);
        return { value };
      },
      { timeoutMs: startMs, intervalMs: 20 },
    );
    if (seen.value === undefined) throw new Error(`${this.#command} ended before it ${what}; it said:\n${this.output}`);
    return seen.value;
  }
}

function accepts(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(undefined));
  });
}
