/** The kit's own SDK: records every span, and lets out those that somebody will want to see. Loaded only where a mode other than `off` is set. */
import { randomUUID } from 'node:crypto';
import type { Tracer } from '@opentelemetry/api';
import { TailSampler, waitingMax } from './tail-sampler.ts';
import { envelope, spanText } from './otlp.ts';
import { Recorder, type RecordedSpan } from './recorder.ts';

/** What leaves the process: nothing; notes, and what was around a fault or a redelivery; a share of all traces besides; everything. */
export type TraceMode = 'off' | 'faults' | 'all' | `${number}%`;

export interface TracingOptions {
  /** The role. */
  service: string;
  mode: TraceMode;
  /** Of a collector, as `http://127.0.0.1:4318`: spans go there as OTLP's JSON by HTTP, to its `/v1/traces`. Without it they are lines. */
  endpoint?: string | undefined;
  /** Takes a line of OTLP's JSON, with its end. Default: stdout. */
  write?: (line: string) => void;
  /** Hears when the collector stops answering, and when it answers again. */
  log?: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  /** Default: the host's. A time is milliseconds since 1970, in fractions. */
  clock?: { nowMs(): number; every(intervalMs: number, run: () => void): () => void };
}

export interface Tracing {
  readonly tracer: Tracer;
  /** Lets out what waits, within two seconds. */
  stop(this: void): Promise<void>;
}

const tickMs = 250;
/** Lines for a person's eyes and a disk: some 300 KB in a second. A collector takes what waits. */
const linesPerSecond = 500;
/** Docker cuts longer lines into pieces. */
const lineCharactersMax = 12 * 1024;

/** Begins to record; undefined for `off`. */
export function startTracing(options: TracingOptions): Tracing | undefined {
  if (options.mode === 'off') return undefined;
  const { service, mode, endpoint, write = (line) => void process.stdout.write(line), log } = options;
  const clock = options.clock ?? hostClock();
  const share = mode === 'all' ? 1 : mode === 'faults' ? 0 : Number.parseFloat(mode) / 100;
  const perSecond = endpoint === undefined ? linesPerSecond : waitingMax * (1_000 / tickMs);
  const sampler = new TailSampler(share, perSecond, () => clock.nowMs());
  const recorder = new Recorder({
    nowMs: () => clock.nowMs(),
    sampled: (traceId) => sampler.sampled(traceId),
    ended: (span) => sampler.ended(span),
  });
  const shell = envelope({ 'service.name': service, 'service.instance.id': randomUUID() });
  const outlet: Outlet = endpoint === undefined ? new Lines(shell, write) : new Collector(shell, endpoint, log);
  const letOut = (most: number): void | Promise<void> => {
    if (!outlet.ready) return;
    const spans = sampler.take(most, recorder);
    if (spans.length === 0) return;
    return outlet.send(spans)?.then((delivered) => (delivered ? undefined : sampler.lose(spans.length)));
  };
  const cancel = clock.every(tickMs, () => void letOut((perSecond * tickMs) / 1_000));
  return {
    tracer: recorder,
    async stop() {
      cancel();
      await outlet.settled();
      await letOut(waitingMax);
    },
  };
}

/** Where spans go. */
interface Outlet {
  /** Otherwise they wait. */
  readonly ready: boolean;
  /** Whether they were delivered; nothing where they always are. Never rejects. */
  send(spans: readonly RecordedSpan[]): Promise<boolean> | undefined;
  /** What is under way has arrived, or has failed. */
  settled(): Promise<unknown>;
}

type Shell = ReturnType<typeof envelope>;

class Lines implements Outlet {
  readonly ready = true;
  readonly #shell: Shell;
  readonly #write: (line: string) => void;
  constructor(shell: Shell, write: (line: string) => void) {
    this.#shell = shell;
    this.#write = write;
  }

  send(spans: readonly RecordedSpan[]): undefined {
    const { before, after } = this.#shell;
    let line = '';
    for (const text of spans.map(spanText)) {
      if (line !== '' && line.length + text.length > lineCharactersMax) {
        this.#write(`${before}${line}${after}\n`);
        line = '';
      }
      line += line === '' ? text : `,${text}`;
    }
    this.#write(`${before}${line}${after}\n`);
  }

  async settled(): Promise<void> {}
}

/** A collector that does not answer within it is away, and is left alone for `pauseMs`. Two of them are what a stop may take. */
const answerMs = 900;
const pauseMs = 1_000;

class Collector implements Outlet {
  readonly #shell: Shell;
  readonly #url: URL;
  readonly #log: TracingOptions['log'];
  #sending: Promise<boolean> | undefined;
  #away = false;
  #againMs = 0;

  constructor(shell: Shell, endpoint: string, log: TracingOptions['log']) {
    this.#shell = shell;
    this.#url = new URL('v1/traces', endpoint.endsWith('/') ? endpoint : `${endpoint}/`);
    this.#log = log;
  }

  get ready(): boolean {
    return this.#sending === undefined && performance.now() >= this.#againMs;
  }

  send(spans: readonly RecordedSpan[]): Promise<boolean> {
    this.#sending = this.#post(spans).finally(() => (this.#sending = undefined));
    return this.#sending;
  }

  async #post(spans: readonly RecordedSpan[]): Promise<boolean> {
    const { before, after } = this.#shell;
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: `${before}${spans.map(spanText).join(',')}${after}`,
        signal: AbortSignal.timeout(answerMs),
      });
      await response.arrayBuffer();
      if (!response.ok) throw new Error(`it answered ${response.status}`);
      if (this.#away) this.#log?.info({ collector: this.#url.origin }, 'the collector answers again');
      this.#away = false;
      return true;
    } catch (error) {
      this.#againMs = performance.now() + pauseMs;
      if (!this.#away)
        this.#log?.warn({ collector: this.#url.origin, err: error }, 'spans are left out: the collector does not take them');
      this.#away = true;
      return false;
    }
  }

  settled(): Promise<unknown> {
    return Promise.resolve(this.#sending);
  }
}

/** Of a monotonic clock, so that spans of one process never go back, and set right where the wall clock was set. */
function hostClock(): NonNullable<TracingOptions['clock']> {
  let offsetMs = Date.now() - performance.now();
  const driftMs = 5;
  return {
    nowMs: () => performance.now() + offsetMs,
    every(intervalMs, run) {
      const timer = setInterval(() => {
        const nowMs = Date.now() - performance.now();
        if (Math.abs(nowMs - offsetMs) > driftMs) offsetMs = nowMs;
        run();
      }, intervalMs);
      timer.unref();
      return () => clearInterval(timer);
    },
  };
}
