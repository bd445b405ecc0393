/** A demo with a page: its roles, all in one process, tell it what they do. */
import { setTimeout as wait } from 'node:timers/promises';
import { interruptible } from '@lab/process';
import type { Tracer } from '@lab/tracing';
import { startTracing, type Tracing } from '@lab/tracing/start';
import { makeTemplate } from './document.ts';
import { Feed } from './feed.ts';
import { serveLive } from './live.ts';

export interface DemoPage {
  /** Of a role, whose spans are shown as its doing. */
  tracer(this: void, role: string): Tracer;
  /** Calls to this address are calls to the role. */
  servesAt(this: void, role: string, address: string): void;
  /** The role has died of a fault of the demo. */
  killed(this: void, role: string): void;
  /** The demo is over, and all was as promised: its page stays, as that of a recorded run, until Ctrl-C. */
  keep(this: void): Promise<void>;
}

/** Starts the page, and says where it is. */
export async function openDemoPage(system: string): Promise<DemoPage> {
  const feed = new Feed({ system, startMs: Date.now(), tells: 'all' });
  const page = await serveLive(await makeTemplate(), feed, 0);
  console.error(`watch it: ${page.url}`);
  const tracings = new Map<string, Tracing>();
  return {
    tracer(role) {
      if (!tracings.has(role)) feed.push([{ type: 'start', atMs: Date.now() - 1, role }]);
      const tracing = tracings.get(role) ?? startTracing({ service: role, mode: 'all', endpoint: page.url })!;
      tracings.set(role, tracing);
      return tracing.tracer;
    },
    servesAt: (role, address) => feed.servesAt(role, address),
    killed(role) {
      // Spans have fractions of a millisecond: what was before this is not told after it.
      const who = { role, atMs: Date.now() + 1 };
      feed.push([
        { ...who, type: 'fault', key: 'killed', arg: 0, message: '' },
        { ...who, type: 'end', reason: 'killed' },
      ]);
    },
    keep: () =>
      interruptible(async (interrupted) => {
        for (const { stop } of tracings.values()) await stop();
        feed.end(Date.now());
        page.end();
        console.error(`the demo is over; its page stays until Ctrl-C: ${page.url}`);
        while (!interrupted.aborted) await wait(2 ** 30, undefined, { signal: interrupted }).catch(() => undefined);
        await page.close();
      }),
  };
}
