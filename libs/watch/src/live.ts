/** The page of a run that goes on: what its feed has, and then whatever comes, as server-sent events. */
import type { ServerResponse } from 'node:http';
import type { SimulationEvent } from '@lab/simulation/events';
import { z } from 'zod';
import { documentOf, savedDocument, type Template } from './document.ts';
import { Feed } from './feed.ts';
import type { Depths, Live, Recording } from './recording.ts';
import { answer, bodyOf, pageRoutes, serve, streamHeaders, type Routes, type Served } from './server.ts';
import { eventsOf, spanBatch, Words } from './spans.ts';

/** What a page is told of what can be done to the system that is watched. */
export interface Breaking {
  /** The command that does it, up to the verb: `npx nx break word-count`; or, where there is none, who does. */
  readonly command: string;
  readonly verbs: Readonly<Record<string, { readonly words: string; readonly summary: string }>>;
  /** Who can be broken, and by which verbs, where that is not everybody by each. */
  readonly roles?: Readonly<Record<string, readonly string[]>>;
  /** The system waits for a button to go on; where it stands, in words. */
  readonly waiting?: string | undefined;
}

export interface Breakable {
  /** Another object where it has changed. */
  readonly breaking: Breaking;
  /** Does what these words say, as they stand behind the command; what came of it. */
  strike(this: void, words: readonly string[]): Promise<string>;
  /** What a role counts, by the names that it gives. */
  metricsOf(this: void, role: string): Promise<Readonly<Record<string, number>>>;
}

/** The first message to a page, and the next where more has changed than was added. */
export interface Whole {
  readonly recording: Recording;
  readonly breaking?: Breaking | undefined;
}

/** What a page is told some times in a second. */
export interface More {
  /** The time of the run. */
  readonly nowMs: number;
  readonly events?: readonly SimulationEvent[] | undefined;
  readonly depths?: Depths | undefined;
  readonly ledger?: Live['ledger'];
  readonly breaking?: Breaking | undefined;
}

const flushMs = 250;
/** To say at least what time it is. */
const heartbeatMs = 1_000;
/** Who does not read for so long connects again, and gets all that there is. */
const unreadBytesMax = 16 * 1024 * 1024;

/** Who looks at the page. */
class Viewers {
  readonly #feed: Feed;
  readonly #wholeText: () => string;
  readonly #breakable: Breakable | undefined;
  readonly #open = new Set<ServerResponse>();
  readonly #stop: () => void;
  #events: SimulationEvent[] = [];
  #isWhole = false;
  #depths: Depths | undefined;
  #ledger: Live['ledger'];
  #breaking: Breaking | undefined;
  #toldMs = 0;

  constructor(feed: Feed, wholeText: () => string, breakable: Breakable | undefined) {
    this.#feed = feed;
    this.#wholeText = wholeText;
    this.#breakable = breakable;
    const unfollow = feed.follow(({ events, whole }) => {
      if (this.#open.size === 0) return;
      this.#events.push(...events);
      this.#isWhole ||= whole;
    });
    const timer = setInterval(() => this.#flush(), flushMs);
    this.#stop = () => {
      clearInterval(timer);
      unfollow();
    };
  }

  get isAnybody(): boolean {
    return this.#open.size > 0;
  }

  add(response: ServerResponse): void {
    this.#flush();
    response.writeHead(200, streamHeaders);
    response.write(this.#wholeText());
    this.#open.add(response);
    response.once('close', () => this.#open.delete(response));
  }

  #flush(): void {
    const nowMs = Date.now();
    const [events, depths, ledger] = [this.#events, this.#feed.lastDepths, this.#feed.ledger];
    const breaking = this.#breakable?.breaking;
    const isNew = events.length > 0 || depths !== this.#depths || ledger !== this.#ledger || breaking !== this.#breaking;
    if (this.#open.size === 0 || (!isNew && nowMs - this.#toldMs < heartbeatMs)) return;
    const more: More = {
      nowMs: this.#feed.msOf(nowMs),
      events: events.length > 0 ? events : undefined,
      depths: depths === this.#depths ? undefined : depths,
      ledger: ledger === this.#ledger ? undefined : ledger,
      breaking: breaking === this.#breaking ? undefined : breaking,
    };
    const text = this.#isWhole ? this.#wholeText() : `data: ${JSON.stringify(more)}\n\n`;
    [this.#events, this.#isWhole, this.#toldMs] = [[], false, nowMs];
    [this.#depths, this.#ledger, this.#breaking] = [depths, ledger, breaking];
    for (const response of this.#open) if (!response.write(text) && response.writableLength > unreadBytesMax) response.destroy();
  }

  /** Whoever reads this loads the page again, and has all of the run. */
  end(): void {
    for (const response of this.#open) response.write('event: over\ndata: {}\n\n');
  }

  close(): void {
    this.#stop();
    for (const response of this.#open) response.end();
  }
}

export interface ServedLive extends Served {
  /** Whether somebody has the page open. */
  isAnybodyThere(this: void): boolean;
  /** The feed has ended. */
  end(this: void): void;
}

/** Serves the page of what is fed. It also takes spans, as a collector does: OTLP's JSON to `v1/traces` below its address. */
export async function serveLive(template: Template, feed: Feed, port: number, breakable?: Breakable): Promise<ServedLive> {
  const recording = (): Recording => feed.recording(Date.now());
  const whole = (): Whole => ({ recording: recording(), breaking: breakable?.breaking });
  const viewers = new Viewers(feed, () => `event: whole\ndata: ${JSON.stringify(whole())}\n\n`, breakable);
  const words = new Words();
  const routes: Routes = {
    ...pageRoutes(
      () => documentOf(template, recording(), feed.isOver ? undefined : 'live'),
      () => savedDocument(template, recording()),
    ),
    events: { method: 'GET', handle: (_, response) => viewers.add(response) },
    'v1/traces': {
      method: 'POST',
      handle: async (request, response) => {
        feed.push(eventsOf(await bodyOf(request, spanBatch), words));
        answer(response, 200, 'application/json', '{}');
      },
    },
    ...(breakable && breakRoutes(breakable)),
  };
  const served = await serve(routes, port);
  return {
    url: served.url,
    isAnybodyThere: () => viewers.isAnybody,
    end: () => viewers.end(),
    close: async () => {
      viewers.close();
      await served.close();
    },
  };
}

const askedStrike = z.object({ words: z.array(z.string().max(100)).min(1).max(10) });
const askedMetrics = z.object({ role: z.string().max(100) });

const breakRoutes = ({ strike, metricsOf }: Breakable): Routes => ({
  break: {
    method: 'POST',
    handle: async (request, response) => {
      const { words } = await bodyOf(request, askedStrike);
      answer(response, 200, 'text/plain', await strike(words));
    },
  },
  metrics: {
    method: 'POST',
    handle: async (request, response) => {
      const { role } = await bodyOf(request, askedMetrics);
      answer(response, 200, 'application/json', JSON.stringify(await metricsOf(role)));
    },
  },
});
