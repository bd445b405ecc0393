import { duplexPair } from 'node:stream';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FramedSocket } from '@lab/protocol';
import { hashOf } from '@lab/store/bundle';
import { expect, it } from 'vitest';
import { Channel, limits } from '../channel/channel.ts';
import type { FileEntry } from '../domain/manifest.ts';
import type { Found, FoundFile, Walk } from '../tree/tree.ts';
import { openStore } from '../versions.ts';
import { bundleAside } from './bundling.ts';
import { Receiving } from './receiving.ts';
import { entryOf, Sending } from './sending.ts';

const [before, after] = [Buffer.from('as it was'), Buffer.from('as it has become')];
const sumOf = (bytes: Buffer): { sha256: string } => ({ sha256: hashOf(bytes) });

interface Known {
  path: string;
  known: Buffer | undefined;
  now: Buffer;
}
const file = (path: string, known?: Buffer, now = before): Known => ({ path, known, now });

/** A walk over files of which the content is known, or not; what is read of them is this by now. */
function walkOf(files: readonly Known[]): Walk {
  const contents = new Map(files.map(({ path, now }) => [path, now]));
  const found = files.map(({ path, known, now }): FoundFile => {
    const common = { type: 'file', path, mode: 0o644, mtimeMs: 0, size: (known ?? now).length } as const;
    return { ...common, known: known && sumOf(known) };
  });
  const walk = {
    *[Symbol.iterator](): Generator<Found> {
      yield { type: 'folder', path: '', mode: 0o755, mtimeMs: 0 };
      yield* found;
    },
    notes: { list: [], leftOut: 0 },
    seen() {},
    forgetOthers() {},
    async read(file: FoundFile, take: (blob: { hash: string; bytes: Buffer }) => Promise<void>): Promise<{ entry: FileEntry }> {
      const bytes = contents.get(file.path)!;
      await take({ hash: hashOf(bytes), bytes });
      return { entry: entryOf({ ...file, size: bytes.length }, sumOf(bytes)) };
    },
  };
  return walk as unknown as Walk;
}

it.each([
  ['the next file', [file('a', before, after), file('b', before), file('c', before)], after.length + 2 * before.length],
  ['a file that is read', [file('a', before, after), file('b')], 2 * before.length],
  ['the file itself', [file('a', before), file('b', before)], 2 * before.length],
])('content that the store has lost comes of %s, and each file counts once', async (_, files, bytes) => {
  const folder = await mkdtemp(join(tmpdir(), 'sending-'));
  const store = await openStore(folder);
  const [near, far] = duplexPair().map((stream) => new Channel(new FramedSocket(stream, limits))) as [Channel, Channel];
  try {
    const working = { files: 0, bytes: 0, sentBytes: 0 };
    const sending = new Sending({ channel: near, walk: walkOf(files), bundle: bundleAside() }, '.', working).run();
    sending.catch(() => undefined);
    const receiving = new Receiving(far, store, {
      progress: { files: 0, bytes: 0, sentBytes: 0 },
      taking: { fits: () => Promise.resolve(), stored() {} },
      mayBeUnchanged: false,
    });
    const { totals } = (await receiving.run())!;
    expect(totals).toEqual({ files: files.length, bytes });
    expect(working).toMatchObject(totals);
  } finally {
    near.destroy();
    far.destroy();
    await store.close();
    await rm(folder, { recursive: true });
  }
});
