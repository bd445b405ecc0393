/** What people see in a terminal: tables, and how far long work is. The packages behind them are loaded by the first of each. */
import { createRequire } from 'node:module';
import { systemClock, type Clock } from './time.ts';

const require = createRequire(import.meta.url);

/** A table in a frame. Columns of numbers stand to the right. */
export function tableText(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const isNumbers = (column: number): boolean => rows.length > 0 && rows.every((row) => /^[\d.,]+$/.test(String(row[column])));
  const colAligns = head.map((_, column) => (isNumbers(column) ? ('right' as const) : ('left' as const)));
  const Table = require('cli-table3') as typeof import('cli-table3');
  const table = new Table({ head: [...head], colAligns, style: { head: [], border: [], compact: true } });
  table.push(...rows.map((row) => [...row]));
  return table.toString();
}

/** Work that somebody waits for. */
export interface Bar {
  /** So many bytes are done by now, of that total if it is known better by now. */
  to(done: number, total?: number): void;
  /** Writes a line, above the bar where there is one. */
  say(this: void, line: string): void;
  stop(): void;
}

export interface BarOptions {
  /** Default stderr, for stdout is for results. */
  stream?: Pick<NodeJS.WriteStream, 'write' | 'isTTY'>;
  clock?: Pick<Clock, 'nowMs'>;
}

/** Without a terminal a line is written this often, and only when there is something new to say. */
const lineMs = 5_000;

/** Shows how many bytes of the work are done: a bar on a terminal, a line now and then where there is none. */
export function startBar(what: string, total: number, { stream = process.stderr, clock = systemClock }: BarOptions = {}): Bar {
  return stream.isTTY ? drawnBar(what, total, stream as NodeJS.WriteStream) : lines(what, total, stream, clock);
}

function drawnBar(what: string, total: number, stream: NodeJS.WriteStream): Bar {
  const { SingleBar } = require('cli-progress') as typeof import('cli-progress');
  const format = `${what} [{bar}] {percentage} % | {doneText} of {totalText} | {eta_formatted} left`;
  // Nothing of the terminal is set, so that nothing stays so where the process is killed.
  const bar = new SingleBar({ stream, format, hideCursor: false, linewrap: true, clearOnComplete: false });
  const texts = (done: number, all: number) => ({ doneText: bytesText(done), totalText: bytesText(all) });
  bar.start(Math.max(1, total), 0, texts(0, total));
  return {
    to(done, all = total) {
      bar.setTotal(Math.max(1, all));
      bar.update(done, texts(done, all));
    },
    say(line) {
      stream.write(`\r\u001b[K${line}\n`);
      bar.render();
    },
    stop: () => bar.stop(),
  };
}

function lines(what: string, total: number, stream: Pick<NodeJS.WriteStream, 'write'>, clock: Pick<Clock, 'nowMs'>): Bar {
  let nextMs = clock.nowMs() + lineMs;
  return {
    to(done, all = total) {
      if (clock.nowMs() < nextMs) return;
      nextMs = clock.nowMs() + lineMs;
      stream.write(`${what}: ${bytesText(done)} of ${bytesText(all)}\n`);
    },
    say: (line) => void stream.write(`${line}\n`),
    stop() {},
  };
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Three digits and a unit. */
export function bytesText(bytes: number): string {
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toPrecision(value >= 1000 ? 4 : 3)} ${units[unit]}`;
}
