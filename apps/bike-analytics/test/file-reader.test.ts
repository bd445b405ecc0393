/** The client's side of a session, with an entry point that is played here. */
import { duplexPair, type Duplex } from 'node:stream';
import type { Piece } from '@lab/columns';
import { FramedSocket, FrameTooLargeError } from '@lab/protocol';
import { eventually, FakeClock } from '@lab/testing';
import { beforeEach, expect, it } from 'vitest';
import { defaultSettings } from '../src/domain/queries.ts';
import { decode, encode, type Head } from '../src/messages.ts';
import { RefusedError } from '../src/roles/client-session.ts';
import { readFiles, type Outcome } from '../src/roles/file-reader.ts';

const sessionTimeoutMs = 60_000;
let clock: FakeClock;
/** The entry point's ends of the client's connections. */
let sockets: FramedSocket[];
let client: Promise<Outcome>;

/** What each file has. */
let pieces: () => AsyncGenerator<Piece>;

let peer: Duplex | undefined;

beforeEach(() => {
  peer = undefined;
  pieces = async function* () {};
  clock = new FakeClock();
  sockets = [];
  let sessions = 0;
  client = readFiles({
    ...{ clock, onTrouble: () => undefined },
    open: () => pieces(),
    ...{ settings: defaultSettings, unwelcomeMaxMs: 60_000 },
    async connect() {
      const [near, far] = duplexPair();
      peer = far;
      sockets.push(new FramedSocket(far, {}, clock));
      return new FramedSocket(near, {}, clock);
    },
    newSessionId: () => `0000000${++sessions}-0000-4000-8000-000000000000`,
  });
  client.catch(() => undefined);
});

/** Answers the client's n-th connection, up to the acknowledgement of weather; gives its hello. */
async function serve(connection: number): Promise<Head<'hello'>> {
  const socket = await eventually(() => (clock.advance(0), sockets[connection]), { intervalMs: 1 });
  const frames = socket![Symbol.asyncIterator]();
  const next = async (): Promise<Buffer> => (await frames.next()).value as Buffer;
  const { head } = decode(await next(), 'hello');
  await socket!.send(encode({ kind: 'welcome', received: {}, sessionTimeoutMs, shards: 1, entryPoint: 'entry-point.1' }));
  if (head.acknowledged.weather === undefined) {
    decode(await next(), 'eof');
    await socket!.send(encode({ kind: 'acknowledged', topic: 'weather' }));
  }
  // Who has sent this has read all that was sent before.
  decode(await next(), 'eof');
  return head;
}

/** Which of the client's sessions it is. */
const sessionOf = ({ session }: Head<'hello'>): number => Number(session.slice(0, 8));

it.each([
  ['goes on with its session after less than the system keeps it', 49_000, 1],
  ['begins a new one when the system may have forgotten it', 51_000, 2],
])('%s', async (_, awayMs, session) => {
  expect(sessionOf(await serve(0))).toBe(1);
  sockets[0]!.destroy();
  clock.advance(awayMs);
  const again = await serve(1);
  expect(sessionOf(again)).toBe(session);
  expect(again.acknowledged).toEqual(session === 1 ? { weather: 0 } : {});
});

it('begins a new session where it is told to begin again', async () => {
  await serve(0);
  await sockets[0]!.send(encode({ kind: 'refused', reason: 'all is lost', again: true }));
  const again = await serve(1);
  expect(sessionOf(again)).toBe(2);
  expect(again.acknowledged).toEqual({});
});

it('gives up when it was not taken in for too long, and says why', async () => {
  await serve(0);
  sockets[0]!.destroy();
  for (let connection = 1; ; connection++) {
    const ended = client.then(
      () => 'answered',
      () => 'given up',
    );
    const socket = await Promise.race([ended, eventually(() => (clock.advance(500), sockets[connection]), { intervalMs: 1 })]);
    if (typeof socket === 'string') break;
    socket!.destroy();
  }
  await expect(client).rejects.toThrow(/^not taken in by the entry point for 6\d s: /);
  expect(clock.nowMs()).toBeGreaterThan(60_000);
});

it('gives up in time on who takes the connection and says nothing', async () => {
  await eventually(() => sockets[0]);
  clock.advance(60_000);
  await expect(client).rejects.toThrow('not taken in by the entry point for 60 s: it says nothing');
});

it('ends at once where no entry point answers', async () => {
  const far = await eventually(() => peer);
  far!.write('HTTP/1.1 400 Bad Request\r\n\r\n');
  await expect(client).rejects.toThrow('what answers is no entry point: a frame of 1213486160 bytes');
});

it('ends at once with a frame that can never fit', async () => {
  pieces = async function* () {
    yield { bytesRead: 1, batch: { rows: 1, table: new Uint8Array(17 * 1024 * 1024) } };
  };
  const socket = await eventually(() => sockets[0]);
  await socket!.send(encode({ kind: 'welcome', received: {}, sessionTimeoutMs, shards: 1, entryPoint: 'entry-point.1' }));
  await expect(client).rejects.toThrow(FrameTooLargeError);
  expect(sockets).toHaveLength(1);
});

it('ends where it is refused for good', async () => {
  await serve(0);
  await sockets[0]!.send(encode({ kind: 'refused', reason: 'this is no batch', again: false }));
  await expect(client).rejects.toThrow(RefusedError);
});
