/** What an admin asks of a server, on a connection of its own. */
import type { Channel } from '../channel/channel.ts';
import { ManifestReader, type Entry } from '../domain/manifest.ts';
import { unpackJson, unpackPiece, type Head } from '../messages.ts';
import type { Version } from '../versions.ts';

/** One command and its answer. */
export async function ask<T>(channel: Channel, head: Head, onWorking: (head: Head<'working'>) => void = () => {}): Promise<T> {
  await channel.send(head);
  for (;;) {
    const { head: reply, body } = await channel.expect('answer', 'working');
    if (reply.kind === 'answer') return unpackJson(body) as T;
    onWorking(reply);
  }
}

export interface Asked {
  node: string;
  path: string;
  /** Default: the newest. */
  version?: number | undefined;
  /** Of a damaged version, what is whole. */
  partial: boolean;
}

/** A version, its entries, and how many damaged files were left out of them. A `Download` on the same channel gets their content. */
export async function askVersion(
  channel: Channel,
  { version: number, ...asked }: Asked,
): Promise<{ version: Version; entries: Entry[]; damaged: number }> {
  await channel.send({ kind: 'fetch', ...asked, ...(number !== undefined && { version: number }) });
  const { head, body } = await channel.expect('version');
  const version = unpackJson(body) as Version;
  const [reader, entries] = [new ManifestReader(), [] as Entry[]];
  for (;;) {
    await channel.send({ kind: 'more' });
    const { head: piece, body: bytes } = await channel.expect('manifest');
    if (!piece.more) break;
    for (const entry of reader.push(unpackPiece(bytes))) entries.push(entry);
  }
  reader.end();
  return { version, entries, damaged: head.damaged };
}
