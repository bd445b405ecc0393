/** Watching against agents and nodes that do what a test wants them to. */
import { systemClock } from '@lab/process';
import { listenFramed, type FramedServer, type FramedSocket } from '@lab/protocol';
import { eventually, FakeClock } from '@lab/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ask, connectTo } from '../wire/asking.ts';
import type { Change, Item, Request } from '../messages.ts';
import { encode, encodeRefusal, encodeReply, requestReader } from '../wire/encoding.ts';
import { Refusal } from '../wire/refusal.ts';
import { Consortium, NoAnswerError } from './consortium.ts';
import { silenceMs, watch, type WatchOptions } from './watch.ts';

/** What a node does with a watch; the connection ends with it. */
type Serve = (socket: FramedSocket, request: Request<'watch'>) => Promise<unknown>;

const item = (number: number): Item => ({ number, author: 'ana', text: `news ${number}`, postedAt: '2026-11-21T18:38:00.000Z' });
const news = (...numbers: number[]): Uint8Array => encode({ news: numbers.map(item) });
const begin = (socket: FramedSocket, after: number, ...numbers: number[]): Promise<unknown> =>
  Promise.all([socket.send(encodeReply({ after, change: 0 })), numbers.length > 0 && socket.send(news(...numbers))]);
const refuse = (socket: FramedSocket, refusal: Refusal): Promise<void> => socket.send(encodeRefusal(refusal));
const notServed = (nodes: string[]): Refusal => new Refusal('not-served', 'sports is served by others', { nodes });

/** Until the watcher leaves, with signs of life. */
async function stay(socket: FramedSocket): Promise<void> {
  const stop = systemClock.every(200, () => void socket.send(encode({ alive: true })).catch(() => undefined));
  for await (const frame of socket) signs.push(frame.toString());
  stop();
  left++;
}

const readRequest = requestReader();

let servers: FramedServer[];
let aborted: AbortController;
/** What was asked of whom. */
let watched: { node: string; area: string; after: number | undefined; change: number | undefined }[];
let handedOut: string[];
let signs: string[];
/** How many watchers left in good order. */
let left: number;
let subscribed: { area: string; since: number; unread: number }[];
/** What agents answer. */
let nodes: string[];

beforeEach(() => {
  aborted = new AbortController();
  [servers, watched, handedOut, signs, left, subscribed, nodes] = [[], [], [], [], 0, [], []];
});
afterEach(async () => {
  aborted.abort();
  await Promise.all(servers.map((server) => server.close()));
});

/** A peer that is agent and node in one; each watch gets the next of `serves`, and the last one's for all that follow. Resolves with its address. */
async function peer(...serves: Serve[]): Promise<string> {
  let served = 0;
  const server = await listenFramed({ host: '127.0.0.1', port: 0 }, async (socket) => {
    for await (const frame of socket) {
      const request = readRequest(frame);
      if (request.kind === 'watch') {
        watched.push({ node: address, area: request.area, after: request.after, change: request.change });
        await serves[Math.min(served++, serves.length - 1)]!(socket, request);
        return;
      }
      await socket.send(encodeReply(request.kind === 'where' ? { nodes } : { areas: subscribed }));
    }
  });
  const address = `127.0.0.1:${server.port}`;
  servers.push(server);
  nodes.push(address);
  return address;
}

function watching(options: Partial<WatchOptions> & { patienceMs?: number } = {}): Promise<void> {
  const { patienceMs = 10_000, ...rest } = options;
  const agents = nodes.slice(0, 1);
  return watch({
    consortium: new Consortium({ ask, clock: systemClock, patienceMs, agents: () => Promise.resolve(agents) }),
    connect: (address) => connectTo(address, { idleTimeoutMs: silenceMs }),
    ...{ clock: systemClock, token: 'token', areas: ['sports'], signal: aborted.signal },
    onItem: (area, { number }) => void handedOut.push(`${area}/${number}`),
    ...rest,
  });
}

/** Ends it when the condition holds. */
async function until(condition: () => boolean, work: Promise<void>): Promise<void> {
  await Promise.race([eventually(condition), work]);
  aborted.abort();
  await work;
}

describe('watch', () => {
  it('goes on behind the last item when the connection breaks, and hands nothing out twice', async () => {
    await peer(
      async (socket) => {
        await begin(socket, 4, 5, 6);
        await eventually(() => handedOut.length === 2);
        socket.destroy();
      },
      async (socket) => {
        await begin(socket, 6, 6, 7);
        await socket.send(news(5, 7, 8));
        await stay(socket);
      },
    );
    await until(() => handedOut.length >= 4, watching());
    expect(handedOut).toEqual(['sports/5', 'sports/6', 'sports/7', 'sports/8']);
    expect(watched.map(({ after }) => after)).toEqual([undefined, 6]);
  });

  it('begins where it first was let in, also when that connection broke before the first item', async () => {
    await peer(
      async (socket) => {
        await begin(socket, 4);
        await socket.close();
      },
      async (socket) => {
        await begin(socket, 4, 5);
        await stay(socket);
      },
    );
    await until(() => handedOut.length === 1, watching());
    expect(watched.map(({ after }) => after)).toEqual([undefined, 4]);
  });

  it('goes on behind the last change, too, and tells of none twice', async () => {
    const change = (count: number) => ({ ...item(5), change: count });
    await peer(
      async (socket) => {
        await begin(socket, 5);
        await socket.send(encode({ news: [change(1), item(6), change(2)] }));
        await eventually(() => handedOut.length === 3);
        socket.destroy();
      },
      async (socket) => {
        await begin(socket, 6);
        await socket.send(encode({ news: [change(2), { number: 5, deleted: true, change: 3 }] }));
        await stay(socket);
      },
    );
    const onChange = (area: string, told: Change): void =>
      void handedOut.push(`${area}/${told.number} ${told.change} ${'deleted' in told ? 'deleted' : told.text}`);
    await until(() => handedOut.length >= 4, watching({ onChange }));
    expect(handedOut).toEqual(['sports/5 1 news 5', 'sports/6', 'sports/5 2 news 5', 'sports/5 3 deleted']);
    expect(watched.map(({ after, change }) => [after, change])).toEqual([
      [undefined, undefined],
      [6, 2],
    ]);
  });

  it('leaves a node that falls silent for another', async () => {
    const silent = Promise.withResolvers<void>();
    const hung = await peer(async (socket) => {
      await begin(socket, 0, 1);
      await silent.promise;
    });
    const live = await peer(async (socket) => {
      await begin(socket, 1, 2);
      await stay(socket);
    });
    await until(() => handedOut.length === 2, watching());
    silent.resolve();
    expect(watched).toEqual([
      { node: hung, area: 'sports', after: undefined, change: undefined },
      { node: live, area: 'sports', after: 1, change: 0 },
    ]);
  });

  it('follows to the nodes that are named, at the beginning and later', async () => {
    let other = '';
    const first = await peer(
      (socket) => refuse(socket, notServed([other])),
      async (socket) => {
        await begin(socket, 1, 2);
        await stay(socket);
      },
    );
    other = await peer(async (socket) => {
      await begin(socket, 0, 1);
      await refuse(socket, notServed([first]));
    });
    await until(() => handedOut.length === 2, watching());
    expect(watched.map(({ node, after }) => [node, after])).toEqual([
      [first, undefined],
      [other, undefined],
      [first, 1],
    ]);
  });

  it.each([
    ['at the beginning', (socket: FramedSocket) => refuse(socket, new Refusal('unauthenticated', 'the session is closed'))],
    [
      'later',
      async (socket: FramedSocket) => {
        await begin(socket, 0, 1);
        await refuse(socket, new Refusal('unauthenticated', 'the session is closed'));
      },
    ],
  ])('ends with the refusal when the session is over %s', async (_, serve) => {
    await peer(serve);
    await expect(watching()).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('says that it is there, and leaves the node when it is aborted', async () => {
    await peer(async (socket) => {
      await begin(socket, 0);
      await stay(socket);
    });
    await until(() => signs.length > 0, watching());
    expect(signs[0]).toBe('{"alive":true}');
    await eventually(() => left === 1);
  });

  it('resolves at once when it is aborted before', async () => {
    aborted.abort();
    await watching();
    expect(watched).toEqual([]);
  });

  it('gives up when nobody has answered for as long as its patience lasts', async () => {
    await peer((socket) => Promise.resolve(socket.destroy()));
    await expect(watching({ patienceMs: 300 })).rejects.toThrow(NoAnswerError);
  });

  it('hands out the next item of an area when the last one was taken', async () => {
    await peer(async (socket) => {
      await begin(socket, 0, 1, 2);
      await stay(socket);
    });
    const taken = Promise.withResolvers<void>();
    const onItem = async (_: string, { number }: Item): Promise<void> => {
      handedOut.push(`got ${number}`);
      if (number === 1) await taken.promise;
      handedOut.push(`took ${number}`);
    };
    const work = watching({ onItem });
    await eventually(() => handedOut.length === 1);
    // A watcher that waits for its reader says that it is there all the same.
    await eventually(() => signs.length > 1);
    expect(handedOut).toEqual(['got 1']);
    taken.resolve();
    await until(() => handedOut.length === 4, work);
    expect(handedOut).toEqual(['got 1', 'took 1', 'got 2', 'took 2']);
  });

  it('ends with what went wrong where items go', async () => {
    await peer(async (socket) => {
      await begin(socket, 0, 1);
      await stay(socket);
    });
    const onItem = (): Promise<void> => Promise.reject(new Error('the disk is full'));
    await expect(watching({ onItem })).rejects.toThrow('the disk is full');
    await eventually(() => left === 1);
  });
});

describe('watch of all areas', () => {
  const since = (area: string, number: number) => ({ area, since: number, unread: 0 });

  it('begins new ones where they were subscribed to, and ends those that are no more', async () => {
    await peer(async (socket, { area, after }) => {
      await begin(socket, after ?? 10, (after ?? 10) + 1);
      await stay(socket);
      handedOut.push(`left ${area}`);
    });
    const clock = new FakeClock();
    subscribed = [since('sports', 3)];
    const work = watching({ areas: [], clock });
    await eventually(() => handedOut.includes('sports/11'));
    subscribed = [since('music', 3)];
    // The review is set when the answer to the one before has come.
    await eventually(() => (clock.advance(5_000), handedOut.length === 3));
    subscribed = [since('music', 3), since('sports', 11)];
    await until(() => (clock.advance(5_000), handedOut.length === 4), work);
    expect(handedOut.toSorted()).toEqual(['left sports', 'music/4', 'sports/11', 'sports/12']);
    expect(watched.map(({ area, after }) => [area, after])).toEqual([
      ['sports', undefined],
      ['music', 3],
      ['sports', 11],
    ]);
  });

  it.each(['unknown-area', 'not-subscribed'] as const)('goes on with the others where one ends with %s', async (code) => {
    const removed = Promise.withResolvers<void>();
    await peer(async (socket, { area }) => {
      await begin(socket, 0, 1);
      if (area === 'sports') return refuse(socket, new Refusal(code, 'gone'));
      await removed.promise;
      await socket.send(news(2));
      return stay(socket);
    });
    subscribed = [since('sports', 0), since('music', 0)];
    const work = watching({ areas: [] });
    await eventually(() => handedOut.length === 2);
    removed.resolve();
    await until(() => handedOut.length === 3, work);
    expect(handedOut.at(-1)).toBe('music/2');
  });
});
