/**
 * Our frames against a hand-rolled loop over `net`, in the same run: 64 KiB both ways, and small requests with 32 in flight. Each has a peer of its own,
 * in another process, that echoes frames the same way.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Fifo } from '@lab/process/fifo';
import { explainBench, median, reportBench, type BenchRow } from '@lab/testing';
import { startProcess } from '@lab/testing/processes';
import { connectFramed } from '../src/index.ts';
import { RawFrames } from './raw.ts';

explainBench();

/** Many short rounds in turns: whatever else the machine does then falls on both. */
const rounds = 41;
/** What runs before the compiler has settled is not counted. */
const warmUpRounds = 6;
const target = 0.95;

interface Load {
  payload: Buffer;
  /** In each round, a fraction of a second. */
  frames: number;
  inFlight: number;
}
const bulk: Load = { payload: Buffer.alloc(64 * 1024, 1), frames: 1_000, inFlight: 16 };
const small: Load = { payload: Buffer.alloc(64, 1), frames: 25_000, inFlight: 32 };

interface Contestant {
  /** Has the load's frames echoed. */
  exchange(load: Load): Promise<void>;
  close(): void;
}

async function framed(port: number): Promise<Contestant> {
  const socket = await connectFramed({ host: '127.0.0.1', port });
  const request = (payload: Buffer): Promise<Buffer> => socket.request(payload, { timeoutMs: 30_000 });
  return { exchange: (load) => exchangeBy(request, load), close: () => socket.destroy() };
}

async function raw(port: number): Promise<Contestant> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  await once(socket, 'connect');
  let onFrame = (): void => {};
  const loop = new RawFrames(socket, () => onFrame());
  const exchange = ({ payload, frames, inFlight }: Load): Promise<void> =>
    new Promise((resolve) => {
      let [asked, answered] = [0, 0];
      onFrame = () => {
        if (++answered === frames) return resolve();
        if (asked++ < frames) loop.send(payload);
      };
      for (; asked < inFlight; asked++) loop.send(payload);
    });
  return { exchange, close: () => socket.destroy() };
}

/** The same loop, with a promise for each reply, as ours has: what the promises alone cost. */
async function rawPromises(port: number): Promise<Contestant> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  await once(socket, 'connect');
  const waiting = new Fifo<(frame: Buffer) => void>();
  const loop = new RawFrames(socket, (frame) => waiting.shift()!(frame));
  const request = (payload: Buffer): Promise<Buffer> => {
    loop.send(payload);
    return new Promise((resolve) => waiting.push(resolve));
  };
  return { exchange: (load) => exchangeBy(request, load), close: () => socket.destroy() };
}

/** Each lane has one request in flight. */
async function exchangeBy(request: (payload: Buffer) => Promise<Buffer>, { payload, frames, inFlight }: Load): Promise<void> {
  let left = frames;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await request(payload);
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

async function startPeer(kind: 'framed' | 'raw'): Promise<{ port: number; stop(): Promise<unknown> }> {
  const peer = startProcess([join(import.meta.dirname, 'peer.ts'), kind]);
  return { port: Number(await peer.line()), stop: () => peer.stop() };
}

async function timed(contestant: Contestant, load: Load): Promise<number> {
  const startMs = performance.now();
  await contestant.exchange(load);
  return performance.now() - startMs;
}

/** Frames per second of both, and how we compare: the medians of all rounds. */
async function compare(load: Load, connectRaw: typeof raw): Promise<{ ours: number; theirs: number; ratio: number }> {
  const peers = [await startPeer('framed'), await startPeer('raw')] as const;
  const [ours, theirs] = [await framed(peers[0].port), await connectRaw(peers[1].port)];
  const times: { oursMs: number; theirsMs: number }[] = [];
  for (let round = 0; round < warmUpRounds + rounds; round++) {
    times.push({ oursMs: await timed(ours, load), theirsMs: await timed(theirs, load) });
  }
  for (const contestant of [ours, theirs]) contestant.close();
  for (const peer of peers) await peer.stop();
  const counted = times.slice(warmUpRounds);
  return {
    ours: (load.frames / median(counted.map(({ oursMs }) => oursMs))) * 1000,
    theirs: (load.frames / median(counted.map(({ theirsMs }) => theirsMs))) * 1000,
    ratio: median(counted.map(({ oursMs, theirsMs }) => theirsMs / oursMs)),
  };
}

interface Comparison {
  name: string;
  unit: string;
  unitsPerFrame: number;
  load: Load;
  connectRaw?: typeof raw;
  /** The other side does what ours does. */
  fair?: boolean;
}

async function rows({ name, unit, unitsPerFrame, load, connectRaw = raw, fair = true }: Comparison): Promise<BenchRow[]> {
  const { ours, theirs, ratio } = await compare(load, connectRaw);
  return [
    { name: `${name}, framed socket`, value: ours * unitsPerFrame, unit, target: null, holds: null },
    { name: `${name}, by hand`, value: theirs * unitsPerFrame, unit, target: null, holds: null },
    {
      ...{ name: `${name}, ratio`, value: ratio, unit: 'ratio' },
      ...(fair ? { target: `>= ${target}`, holds: ratio >= target } : { target: null, holds: null }),
    },
  ];
}

const mib = 1024 * 1024;
const comparisons: Comparison[] = [
  { name: '64 KiB both ways', unit: 'MiB/s', unitsPerFrame: bulk.payload.length / mib, load: bulk },
  { name: 'request-replies, 32 in flight', unit: '1/s', unitsPerFrame: 1, load: small, fair: false },
  { name: 'the same, each with a promise', unit: '1/s', unitsPerFrame: 1, load: small, connectRaw: rawPromises },
];
const measured: BenchRow[] = [];
for (const comparison of comparisons) measured.push(...(await rows(comparison)));
await reportBench(measured, process.argv.slice(2));
