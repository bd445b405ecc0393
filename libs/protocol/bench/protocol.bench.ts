/** Our frames against a hand-rolled loop over `net`, in the same run: 64 KiB both ways, and small requests with 32 under way. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { median, reportBench, type BenchRow } from '@lab/testing';
import { connectFramed } from '../src/index.ts';
import { RawFrames } from './raw.ts';

const rounds = 7;
const bulk = { payload: Buffer.alloc(64 * 1024, 1), frames: 12_000, inFlight: 16 };
const small = { payload: Buffer.alloc(64, 1), frames: 150_000, inFlight: 32 };
type Load = typeof bulk;

async function withPeer<T>(kind: 'framed' | 'raw', run: (port: number) => Promise<T>): Promise<T> {
  const peer = spawn(process.execPath, [join(import.meta.dirname, 'peer.ts'), kind], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(peer.stdout, 'data')) as [Buffer];
    return await run(Number(String(line)));
  } finally {
    peer.kill();
  }
}

/** Frames per second through our library, each echoed. */
async function framed({ payload, frames, inFlight }: Load): Promise<number> {
  return withPeer('framed', async (port) => {
    const socket = await connectFramed({ host: '127.0.0.1', port });
    const startMs = performance.now();
    let left = frames;
    const one = async (): Promise<void> => {
      while (left-- > 0) await socket.request(payload, { timeoutMs: 30_000 });
    };
    await Promise.all(Array.from({ length: inFlight }, one));
    const perSecond = (frames / (performance.now() - startMs)) * 1000;
    await socket.close();
    return perSecond;
  });
}

/** The same by hand. */
async function raw({ payload, frames, inFlight }: Load): Promise<number> {
  return withPeer('raw', async (port) => {
    const socket = connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    await once(socket, 'connect');
    const startMs = performance.now();
    await new Promise<void>((resolve) => {
      let [asked, answered] = [0, 0];
      const loop = new RawFrames(() => {
        if (++answered === frames) return resolve();
        if (asked++ < frames) loop.send(socket, payload);
      });
      socket.on('data', (chunk) => loop.push(chunk));
      for (; asked < inFlight; asked++) loop.send(socket, payload);
    });
    socket.destroy();
    return (frames / (performance.now() - startMs)) * 1000;
  });
}

async function compare(load: Load): Promise<{ ours: number; theirs: number }> {
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await framed(load));
    theirs.push(await raw(load));
  }
  return { ours: median(ours), theirs: median(theirs) };
}

function rows(name: string, unit: string, scale: number, { ours, theirs }: { ours: number; theirs: number }): BenchRow[] {
  const ratio = ours / theirs;
  return [
    { name: `${name}, framed socket`, value: ours * scale, unit, target: null, holds: null },
    { name: `${name}, by hand`, value: theirs * scale, unit, target: null, holds: null },
    { name: `${name}, ratio`, value: ratio, unit: 'ratio', target: '>= 0.8', holds: ratio >= 0.8 },
  ];
}

const bulkResult = await compare(bulk);
const smallResult = await compare(small);
await reportBench(
  [
    ...rows('64 KiB both ways', 'MiB/s', bulk.payload.length / 1024 / 1024, bulkResult),
    ...rows('request-replies, 32 under way', '1/s', 1, smallResult),
  ],
  process.argv.slice(2),
);
