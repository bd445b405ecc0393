import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeBundle, hashOf } from '@lab/store/bundle';
import { expect, it } from 'vitest';
import type { Channel } from '../channel/channel.ts';
import { manifestLine, type Entry } from '../domain/manifest.ts';
import { checksumOf, packJson, packOffer, pieces, type Message } from '../messages.ts';
import { openStore } from '../versions.ts';
import { Receiving } from './receiving.ts';

it('a node that knows a hash learns whether the store has it, and may name it, but is sent nothing of it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'receiving-'));
  const store = await openStore(folder);
  const secret = Buffer.from('of another node');
  const [known, unknown] = [hashOf(secret), hashOf(Buffer.from('of nobody'))];
  await store.keep(encodeBundle([{ hash: known, bytes: secret }]));
  const entry: Entry = { type: 'file', path: '', mode: 0o644, mtimeMs: 0, size: secret.length, sha256: known };
  const offer = packOffer([
    [known, secret.length],
    [unknown, 9],
  ]);
  const said = [
    { head: { kind: 'offer' }, body: offer },
    ...pieces('manifest', manifestLine(entry)),
    { head: { kind: 'tree', checksum: checksumOf([entry]) }, body: packJson({ notes: [], leftOut: 0 }) },
  ] as Message[];
  const answers: unknown[] = [];
  const channel = {
    expect: () => Promise.resolve(said.shift()),
    send: (head: unknown, body: Buffer) => Promise.resolve(void answers.push([head, [...body]])),
  };
  const parts = {
    progress: { files: 0, bytes: 0, sentBytes: 0 },
    taking: { fits: () => Promise.resolve(), stored: () => {} },
    mayBeUnchanged: false,
  };
  const tree = await new Receiving(channel as unknown as Channel, store, parts).run();
  expect(tree).toMatchObject({ totals: { files: 1, bytes: secret.length }, checksum: checksumOf([entry]) });
  expect(answers).toEqual([[{ kind: 'want' }, [0, 1]]]);
  await store.close();
  await rm(folder, { recursive: true });
});
