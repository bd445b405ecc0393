/** A demo with a page: its roles, all in one process, tell it what they do, and its buttons break them. */
import { setTimeout as wait } from 'node:timers/promises';
import { interruptible, systemClock } from '@lab/process';
import type { Plug } from '@lab/process/lives';
import type { Tracer } from '@lab/tracing';
import { startTracing, type Tracing } from '@lab/tracing/start';
import { makeTemplate } from './document.ts';
import { Feed } from './feed.ts';
import { serveLive, type Breakable, type Breaking, type ServedLive } from './live.ts';
import { Plugs, type Did } from './plugs.ts';
import { watchRunning } from './running.ts';
import type { LiveEvent } from './spans.ts';

export interface GoOnOptions {
  /** Ends the waiting. */
  interrupted?: AbortSignal;
  /** Writes a line for people. Default: to stderr. */
  say?(this: void, line: string): void;
}

/** Disposed of, it is gone, and does not hold the process. */
export interface DemoPage extends AsyncDisposable {
  /** Of a role, whose spans are shown as its doing. */
  tracer(this: void, role: string): Tracer;
  /** Calls to this address are calls to the role. */
  servesAt(this: void, role: string, address: string): void;
  /** From now on a button breaks the role, which is alive. It comes back by another button, after half a minute, or when the faults end. */
  breakable(this: void, role: string, plug: Plug): void;
  /** The role has died of a fault of the demo. */
  killed(this: void, role: string): void;
  /** The page says where the demo stands: there is time to look, and to break something. Resolves when somebody presses "Go on"; rejects with what interrupts it. */
  goOn(this: void, where: string, options?: GoOnOptions): Promise<void>;
  /** Before the demo needs all of its roles: resolves when who was broken by a button is there again. Nothing is broken after it. */
  endFaults(this: void): Promise<void>;
  /** The demo is over, and all was as promised: its page stays, as that of a recorded run, until Ctrl-C. */
  keep(this: void): Promise<void>;
}

/** Starts the page, and says where it is. */
export async function openDemoPage(system: string): Promise<DemoPage> {
  const feed = new Feed({ system, startMs: Date.now(), tells: 'all' });
  const buttons = new Buttons((role, did) => feed.push(eventsOf(role, did)));
  const page = await serveLive(await makeTemplate(), feed, 0, buttons);
  console.error(`watch it: ${page.url}`);
  const tracings = new Map<string, Tracing>();
  const begun = new Set<string>();
  const begin = (role: string): void => {
    if (!begun.has(role)) feed.push([{ type: 'start', atMs: Date.now() - 1, role }]);
    begun.add(role);
  };
  const stopTelling = async (): Promise<void> => {
    buttons.plugs.close();
    for (const { stop } of tracings.values()) await stop();
    tracings.clear();
  };
  return {
    tracer(role) {
      begin(role);
      const tracing = tracings.get(role) ?? startTracing({ service: role, mode: 'all', endpoint: page.url })!;
      tracings.set(role, tracing);
      return tracing.tracer;
    },
    servesAt: (role, address) => feed.servesAt(role, address),
    breakable(role, plug) {
      begin(role);
      buttons.add(role, plug);
    },
    killed: (role) => buttons.plugs.died(role),
    goOn: (where, options) => buttons.wait(where, options),
    endFaults: () => buttons.plugs.end(),
    keep: () =>
      interruptible(async (interrupted) => {
        await stopTelling();
        await stay(feed, page, interrupted);
      }),
    async [Symbol.asyncDispose]() {
      await stopTelling();
      await page.close();
    },
  };
}

/** The page of a demo whose containers have this project's name, and are there; the demo itself breaks them. */
export async function openContainersPage(directory: string, project: string): Promise<Pick<DemoPage, 'keep'>> {
  const { feed, follow, close } = await watchRunning(directory, project);
  const page = await serveLive(await makeTemplate(), feed, 0);
  console.error(`watch it: ${page.url}`);
  follow(page.isAnybodyThere);
  return {
    keep: () =>
      interruptible(async (interrupted) => {
        await close();
        await stay(feed, page, interrupted);
      }),
  };
}

async function stay(feed: Feed, page: ServedLive, interrupted: AbortSignal): Promise<void> {
  feed.end(Date.now());
  page.end();
  console.error(`the demo is over; its page stays until Ctrl-C: ${page.url}`);
  while (!interrupted.aborted) await wait(2 ** 30, undefined, { signal: interrupted }).catch(() => undefined);
  await page.close();
}

function eventsOf(role: string, did: Did): LiveEvent[] {
  // Spans have fractions of a millisecond: what was before this is not told after it.
  const who = { role, atMs: Date.now() + 1 };
  if (did === 'started') return [{ ...who, type: 'start' }];
  return [
    { ...who, type: 'fault', key: did, arg: 0, message: '' },
    { ...who, type: 'end', reason: did === 'killed' ? 'killed' : 'in good order' },
  ];
}

/** What the buttons of the page do. */
class Buttons implements Breakable {
  readonly plugs: Plugs;
  breaking: Breaking;
  #goOn: (() => void) | undefined;

  constructor(tell: (role: string, did: Did) => void) {
    this.plugs = new Plugs(systemClock, tell);
    this.breaking = this.plugs.breaking;
  }

  add(role: string, plug: Plug): void {
    this.plugs.add(role, plug);
    this.breaking = { ...this.breaking, ...this.plugs.breaking };
  }

  async wait(where: string, { interrupted, say = console.error }: GoOnOptions = {}): Promise<void> {
    interrupted?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    interrupted?.addEventListener('abort', () => reject(interrupted.reason as Error), { once: true });
    this.#goOn = resolve;
    this.breaking = { ...this.breaking, waiting: where };
    say(`the demo waits for "Go on" on its page: ${where}`);
    await promise.finally(() => (this.breaking = { ...this.breaking, waiting: undefined }));
  }

  readonly strike = async (words: readonly string[]): Promise<string> => {
    if (words[0] !== 'go-on') return this.plugs.strike(words);
    if (this.breaking.waiting === undefined) throw new Error('the demo does not wait');
    this.#goOn?.();
    return 'the demo goes on';
  };

  readonly metricsOf = async (): Promise<Record<string, number>> => ({});
}
