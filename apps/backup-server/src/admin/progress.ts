/** How far long work is: a bar on a terminal, a line now and then where there is none. On stderr, for stdout is for results. */
import { SingleBar } from 'cli-progress';

export interface Bar {
  /** So much of the work is done by now. */
  to(done: number, total?: number): void;
  stop(): void;
}

const lineMs = 5_000;

export function startBar(what: string, total: number): Bar {
  if (!process.stderr.isTTY) return startLines(what, total);
  const bar = new SingleBar({
    stream: process.stderr,
    format: `${what} [{bar}] {percentage} % | {doneText} of {totalText} | {eta_formatted} left`,
    hideCursor: true,
    clearOnComplete: false,
  });
  const texts = (done: number, all: number) => ({ doneText: bytesText(done), totalText: bytesText(all) });
  bar.start(Math.max(1, total), 0, texts(0, total));
  return {
    to: (done, all = total) => {
      bar.setTotal(Math.max(1, all));
      bar.update(done, texts(done, all));
    },
    stop: () => bar.stop(),
  };
}

function startLines(what: string, total: number): Bar {
  let nextMs = performance.now() + lineMs;
  return {
    to(done, all = total) {
      if (performance.now() < nextMs) return;
      nextMs = performance.now() + lineMs;
      process.stderr.write(`${what}: ${bytesText(done)} of ${bytesText(all)}\n`);
    },
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
