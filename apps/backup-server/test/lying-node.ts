/** A node that says what is not so: a requester makes no version of that. */
import { sleep, type Clock } from '@lab/process';
import { bundleParts, hashOf } from '@lab/store/bundle';
import type { Channel } from '../src/channel/channel.ts';
import { manifestLine, type Entry } from '../src/domain/manifest.ts';
import { checksumOf, packJson, packOffer, pieces } from '../src/messages.ts';

export const lies = ['size', 'content', 'manifest', 'checksum', 'unchanged', 'working'] as const;
export type Lie = (typeof lies)[number];

const [bytes, other] = [Buffer.alloc(2048, 'x'), Buffer.alloc(2048, 'y')];
const [hash, otherHash] = [hashOf(bytes), hashOf(other)];

/** One backup: of a file that is called shorter than it is; with content that nobody asked for; of content that does not come; or with a checksum of something else. */
async function lieOnce(channel: Channel, lie: Lie): Promise<void> {
  await channel.send({ kind: 'offer' }, packOffer([[hash, bytes.length]]));
  const { body: wanted } = await channel.expect('want');
  const unasked = { hash: otherHash, bytes: other };
  if (lie === 'content') await channel.send({ kind: 'bundle' }, ...bundleParts([unasked]));
  if (wanted[0] === 1) {
    await channel.send({ kind: 'bundle' }, ...bundleParts([{ hash, bytes }]));
    await channel.expect('kept');
  }
  const size = lie === 'size' ? 3 : bytes.length;
  const sha256 = lie === 'manifest' ? otherHash : hash;
  const entry: Entry = { type: 'file', path: '', mode: 0o644, mtimeMs: 0, size, sha256 };
  for (const { head, body } of pieces('manifest', manifestLine(entry))) await channel.send(head, body);
  const checksum = lie === 'checksum' ? otherHash : checksumOf([entry]);
  await channel.send({ kind: 'tree', checksum }, packJson({ notes: [], leftOut: 0 }));
  await channel.receive('stored');
}

/** For ever, as one that gets further. */
async function workOn(channel: Channel, clock: Clock): Promise<void> {
  for (let files = 1; ; files++) {
    await channel.send({ kind: 'working', files, bytes: files, sentBytes: files });
    await sleep(clock, 1_000);
  }
}

export const lieTo =
  (lie: Lie, clock: Clock) =>
  async (channel: Channel): Promise<void> => {
    for (let next = await channel.receive('backup'); next !== undefined; next = await channel.receive('backup'))
      if (lie === 'working') await workOn(channel, clock);
      else if (lie === 'unchanged' && next.head.checksum === undefined)
        await channel.send({ kind: 'unchanged', files: 1, bytes: 1 });
      else await lieOnce(channel, lie);
  };
