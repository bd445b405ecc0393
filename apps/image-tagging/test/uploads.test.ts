/** Uploads that are cut, left, or tried twice at once. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { eventually, FakeClock } from '@lab/testing';
import { describe, expect, it } from 'vitest';
import { mebibyte, numbered, picture } from './pictures.ts';
import { chunk, download, header, headerOf, imagesAt, upload, UploadCall } from './raw-call.ts';
import { keywords, sha256, start, system, systemForEach } from './scene.ts';

systemForEach();

describe('two uploads with one key at once', () => {
  /** A call of its own at each of two servers, both told to begin at 0. */
  async function both(one: Buffer, other: Buffer): Promise<[UploadCall, UploadCall]> {
    await start({ servers: 2 });
    const key = 'one-key-for-two-uploads';
    const calls = [one, other].map((bytes, index) =>
      new UploadCall(imagesAt(system.addressOf(`svc-${index + 1}`))).send(header(headerOf(bytes, { key }))),
    ) as [UploadCall, UploadCall];
    await eventually(() => calls.every((call) => call.stored[0] === 0));
    return calls;
  }

  it('of the same bytes are one picture, and both are answered with its id', async () => {
    const bytes = numbered(0, mebibyte);
    const [first, second] = await both(bytes, bytes);
    const half = bytes.length / 2;
    first.send(chunk(bytes.subarray(0, half)));
    second.send(chunk(bytes.subarray(0, half)));
    const ended = await Promise.all([first, second].map((call) => call.send(chunk(bytes.subarray(half))).end()));
    expect(ended.map(({ code }) => status[code])).toEqual(['OK', 'OK']);
    expect(new Set(ended.map(({ id }) => id)).size).toBe(1);
    expect(ended.map(({ known }) => known).toSorted()).toEqual([false, true]);
    await system.tagged(ended[0]!.id!);
    expect(await system.partialFiles()).toEqual([]);
  });

  it('of the same bytes, the slower one at its last byte when the other is answered, are one picture', async () => {
    const bytes = numbered(0, mebibyte);
    const [first, second] = await both(bytes, bytes);
    first.send(chunk(bytes.subarray(0, -1)));
    const won = await second.send(chunk(bytes)).end();
    const late = await first.send(chunk(bytes.subarray(-1))).end();
    expect([won.code, late.code]).toEqual([0, 0]);
    expect(late.id).toBe(won.id);
  });

  it('of other bytes: one is stored as it was sent, the other is told that the key is taken', async () => {
    const [one, other] = [numbered(1, mebibyte), numbered(2, mebibyte)];
    const [first, second] = await both(one, other);
    first.send(chunk(one.subarray(0, -100_000)));
    const won = await second.send(chunk(other)).end();
    expect(won.code, won.details).toBe(status.OK);
    const lost = await first.send(chunk(one.subarray(-100_000))).end();
    expect(status[lost.code]).toBe('ALREADY_EXISTS');
    const { bytes } = await download(imagesAt(system.addressOf('svc-1')), { id: won.id!, original: true });
    expect(sha256(bytes)).toBe(sha256(other));
  });

  it('of which one is no picture: the other is stored nevertheless', async () => {
    const noPicture = Buffer.alloc(mebibyte, 'no picture');
    const bytes = numbered(1, mebibyte);
    const [first, second] = await both(bytes, noPicture);
    first.send(chunk(bytes.subarray(0, 500_000)));
    expect(status[(await second.send(chunk(noPicture)).end()).code]).toBe('INVALID_ARGUMENT');
    const { code, id, details } = await first.send(chunk(bytes.subarray(500_000))).end();
    expect(code, details).toBe(status.OK);
    await system.tagged(id!);
  });
});

describe('an upload', () => {
  it('whose first bytes were lost with the power before they were synced is begun anew by its client', async () => {
    await start({ servers: 1 });
    const raw = imagesAt(system.addressOf('svc-1'));
    const key = 'the-key-of-an-upload';
    await upload(raw, header(headerOf(picture, { key, keywords })), chunk(picture.subarray(0, 100)));
    raw.close();
    const [file] = await system.partialFiles();
    await writeFile(join(system.folder, 'store/partial', file!), Buffer.alloc(100));
    const { id, tries } = await system.client().upload(await system.file(picture), keywords, key);
    expect(tries).toBe(2);
    await system.tagged(id);
  });

  it('that nobody goes on with is erased after a day', async () => {
    const clock = new FakeClock();
    let dayMs = 0;
    await start({ servers: 2, workers: 0, clock, nowMs: () => Date.now() + dayMs });
    const raw = imagesAt(system.addressOf('svc-1'));
    await upload(raw, header(headerOf(picture)), chunk(picture.subarray(0, 100)));
    raw.close();
    expect(await system.partialFiles()).toHaveLength(1);
    clock.advance(3_600_000);
    dayMs = 23 * 3_600_000;
    await system.client().upload(await system.file(picture), keywords);
    expect(await system.partialFiles()).toHaveLength(1);
    dayMs = 25 * 3_600_000;
    clock.advance(3_600_000);
    await eventually(async () => (await system.partialFiles()).length === 0);
  });
});
