/** What is no picture, no id, no upload: each is refused with a status and a sentence, and harms nothing else. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import { eventually, FakeClock } from '@lab/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ImageState, type Image, type ImagesClient } from '../src/generated/lab/images/v1/images.ts';
import { clientOptions } from '../src/grpc/channels.ts';
import { makePicture } from '../data/make.ts';
import { idOf } from '../src/wiring.ts';
import { ask, chunk, download, header, headerOf, imagesAt, upload, UploadCall, type Ended } from './raw-call.ts';
import { System } from './system.ts';

const limitBytes = 3 * 1024 * 1024;
const clock = new FakeClock();
let system: System;
let client: ImagesClient;
let picture: Buffer;

beforeAll(async () => {
  system = await System.start({ servers: 1, limitBytes, limitMegapixels: 1, clock });
  client = imagesAt(system.observer.catalog.servers()[0]!.address!);
  picture = await makePicture({ seed: 1, width: 64, height: 48, format: 'jpeg' });
});

afterAll(async () => {
  client.close();
  await system[Symbol.asyncDispose]();
});

const png = (width: number, height: number): Buffer => {
  const bytes = Buffer.alloc(100);
  Buffer.from('\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR', 'latin1').copy(bytes);
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes;
};

const statusName = ({ code, details }: { code: number; details: string }): string => `${status[code]} ${details}`;
/** What is kept of an upload for a next try. */
const triesOf = async (key: string): Promise<string[]> =>
  await readdir(join(system.folder, 'store/partial', idOf(key))).catch(() => []);
const imageOf = async (id: string): Promise<Image> =>
  (await ask<Image>((done) => client.getImage({ id }, new Metadata(), done))).answer!;

/** An upload with this header of these bytes. */
const send = (bytes: Uint8Array, changes: Parameters<typeof headerOf>[1] = {}): Promise<Ended> =>
  upload(client, header(headerOf(bytes, changes)), chunk(bytes));

describe('an upload is refused', () => {
  const headers: [string, Parameters<typeof headerOf>[1], RegExp][] = [
    [
      'a key with a path in it',
      { key: '../../../../etc/passwd' },
      /^INVALID_ARGUMENT the key is "..\/..\/..\/..\/etc\/passwd": it must/,
    ],
    ['a short key', { key: 'short' }, /^INVALID_ARGUMENT the key is "short"/],
    ['a key of 201 characters', { key: 'k'.repeat(201) }, /^INVALID_ARGUMENT the key is "k{60}"\.\.\./],
    ['no key', { key: '' }, /^INVALID_ARGUMENT the key is ""/],
    ['a name with a line break', { fileName: 'a\nb.jpg' }, /^INVALID_ARGUMENT the file's name is "a\\nb.jpg"/],
    ['a name of 256 characters', { fileName: 'n'.repeat(256) }, /^INVALID_ARGUMENT the file's name is "n{60}"\.\.\./],
    ['a SHA-256 of 31 bytes', { sha256: Buffer.alloc(31) }, /^INVALID_ARGUMENT the SHA-256 must have 32 bytes/],
    ['0 bytes', { sizeBytes: 0 }, /^INVALID_ARGUMENT the file is empty/],
    ['more bytes than are taken', { sizeBytes: limitBytes + 1 }, /^INVALID_ARGUMENT the file has 3145729 bytes: at most 3145728/],
    ['no keywords', { keywords: [] }, /^INVALID_ARGUMENT there are no keywords/],
    [
      '10,000 keywords',
      { keywords: Array.from({ length: 10_000 }, (_, i) => `k${i}`) },
      /^INVALID_ARGUMENT there are 10000 keywords/,
    ],
    ['a keyword of spaces', { keywords: ['lake', ' '] }, /^INVALID_ARGUMENT a keyword is " "/],
    ['a keyword of 101 characters', { keywords: ['k'.repeat(101)] }, /^INVALID_ARGUMENT a keyword is "k{60}"\.\.\./],
    ['a keyword with a control character', { keywords: ['\u001b[31m'] }, /^INVALID_ARGUMENT a keyword is "\\u001b\[31m"/],
  ];
  it.each(headers)('with %s', async (_, changes, expected) => {
    const call = new UploadCall(client).send(header(headerOf(picture, changes)));
    expect(statusName(await call.ended)).toMatch(expected);
  });

  it.each([
    ['text', Buffer.from('no picture at all'), /^INVALID_ARGUMENT This is not a JPEG/],
    ['one byte', Buffer.from('x'), /^INVALID_ARGUMENT This is not a JPEG/],
    [
      'a bomb of pixels',
      png(50_000, 50_000),
      /^INVALID_ARGUMENT The picture has 50000 x 50000 pixels; 1 megapixels is the limit/,
    ],
    ['a header that is cut', png(10, 10).subarray(0, 20), /^INVALID_ARGUMENT This PNG picture ends within its header/],
  ])('that is %s, and nothing of it stays', async (_, bytes, expected) => {
    const head = headerOf(bytes);
    expect(statusName(await upload(client, header(head), chunk(bytes)))).toMatch(expected);
    expect(await triesOf(head.key)).toEqual([]);
  });

  it('that is no picture as soon as its head is there, whatever else would come', async () => {
    const head = Buffer.alloc(64 * 1024, 'no picture');
    const call = new UploadCall(client).send(header(headerOf(head, { sizeBytes: limitBytes })), chunk(head));
    expect(statusName(await call.ended)).toMatch(/^INVALID_ARGUMENT This is not a JPEG/);
  });

  it('that begins with a chunk', async () => {
    expect(statusName(await upload(client, chunk(picture)))).toBe('INVALID_ARGUMENT an upload begins with its header');
  });

  it('that has no part at all', async () => {
    expect(statusName(await upload(client))).toBe('INVALID_ARGUMENT an upload begins with its header');
  });

  it('with a part that is nothing', async () => {
    const call = upload(client, header(headerOf(picture)), undefined);
    expect(statusName(await call)).toMatch(/^INVALID_ARGUMENT a part of the upload is neither a header nor a chunk/);
  });

  it('with a second header', async () => {
    const first = header(headerOf(picture));
    expect(statusName(await upload(client, first, first))).toBe('INVALID_ARGUMENT an upload has one header');
  });

  it('with a size that no number holds', async () => {
    const call = new UploadCall(client).send(header(headerOf(picture, { sizeBytes: 2 ** 60 })));
    expect(statusName(await call.ended)).toMatch(/^INVALID_ARGUMENT .* a number beyond 2\^53/);
  });

  it('with a chunk beyond 1 MiB and what may stand around it', async () => {
    const large = Buffer.alloc(1024 * 1024 + 64 * 1024 + 1);
    const { code } = await send(large);
    expect(status[code]).toBe('RESOURCE_EXHAUSTED');
  });

  it('with more bytes than were announced, and nothing of it stays', async () => {
    const head = headerOf(picture);
    const more = Buffer.concat([picture, Buffer.from('x')]);
    const call = upload(client, header(head), chunk(more));
    expect(statusName(await call)).toBe(`INVALID_ARGUMENT more came than the ${picture.length} bytes that were announced`);
    expect(await triesOf(head.key)).toEqual([]);
  });

  it('with fewer bytes, which stay for the next try', async () => {
    const head = headerOf(picture);
    const cut = await upload(client, header(head), chunk(picture.subarray(0, 1_000)));
    expect(statusName(cut)).toMatch(/^INVALID_ARGUMENT the upload ended after 1000 of \d+ bytes/);
    const rest = await upload(client, header(head), chunk(picture.subarray(1_000)));
    expect(rest).toMatchObject({ code: status.OK, stored: [1_000] });
  });

  it('with other bytes than the SHA-256 says, and the right ones are taken then', async () => {
    const head = headerOf(picture, { sha256: Buffer.alloc(32) });
    expect(statusName(await upload(client, header(head), chunk(picture)))).toMatch(/^DATA_LOSS the bytes that came have SHA-256/);
    const right = await upload(client, header({ ...headerOf(picture), key: head.key }), chunk(picture));
    expect(right.code).toBe(status.OK);
  });

  it('whose key another upload has', async () => {
    const head = headerOf(picture);
    const { id } = await upload(client, header(head), chunk(picture));
    const other = await upload(client, header({ ...head, keywords: ['other'] }));
    expect(statusName(other)).toBe(`ALREADY_EXISTS the key belongs to another upload, ${id}: choose another key`);
  });
});

describe('an upload', () => {
  it('with a hostile file name is taken, and the name stays a name', async () => {
    const fileName = '../../../../etc/cron.d/x';
    const { id } = await send(picture, { fileName });
    expect((await imageOf(id!)).fileName).toBe(fileName);
    expect(await readdir(system.folder)).toEqual(['store']);
  });

  it('of a picture that is truncated inside ends failed with a reason, and the next is tagged', async () => {
    const half = (await makePicture({ seed: 2, width: 300, height: 200, format: 'png' })).subarray(0, 20_000);
    const { id } = await send(half);
    const next = await send(picture);
    await eventually(async () => (await imageOf(next.id!)).state === ImageState.TAGGED);
    const failed = await imageOf(id!);
    expect(failed.state).toBe(ImageState.FAILED);
    expect(failed.reason).toMatch(/damaged or incomplete/);
    expect((await download(client, { id: id! })).bytes).toEqual(half);
  });

  it('that hangs is given up after a minute, and goes on later', async () => {
    const head = headerOf(picture);
    const call = new UploadCall(client).send(header(head), chunk(picture.subarray(0, 700)));
    let ended: Ended | undefined;
    void call.ended.then((end) => (ended = end));
    await eventually(() => system.observer.catalog.servers()[0]!.activeClients === 1);
    await eventually(() => (clock.advance(10_000), ended));
    expect(statusName(ended!)).toBe('DEADLINE_EXCEEDED the client sent nothing for 60 s; what came is kept');
    expect(await upload(client, header(head), chunk(picture.subarray(700)))).toMatchObject({ code: 0, stored: [700] });
  });

  it('whose client vanishes is a client no more, and goes on later', async () => {
    const head = headerOf(picture);
    const call = new UploadCall(client).send(header(head), chunk(picture.subarray(0, 900)));
    const count = (): number => system.observer.catalog.servers()[0]!.activeClients;
    await eventually(() => count() === 1 && call.stored.length > 0);
    system.proxyOf('svc-1').reset();
    await eventually(() => count() === 0);
    const rest = await eventually(async () => {
      const { code, stored, details } = await new UploadCall(client).send(header(head)).end();
      expect(code, details).toBe(status.INVALID_ARGUMENT);
      return stored;
    });
    expect(await upload(client, header(head), chunk(picture.subarray(rest[0])))).toMatchObject({ code: 0 });
  });

  it('that was erased while it waited for its next bytes can be begun anew by its client', async () => {
    const head = headerOf(picture);
    const call = new UploadCall(client).send(header(head), chunk(picture.subarray(0, 500)));
    await eventually(() => call.stored.length > 0);
    await eventually(async () => (await triesOf(head.key)).length > 0);
    await system.store.eraseAbandoned(Infinity);
    expect(status[(await call.send(chunk(picture.subarray(500))).end()).code]).toBe('UNAVAILABLE');
    expect(await upload(client, header(head), chunk(picture))).toMatchObject({ code: 0, stored: [0] });
  });
});

describe('a download is refused', () => {
  it.each([
    ['an unknown id', { id: 'a'.repeat(20) }, /^NOT_FOUND there is no picture aaaa/],
    ['a path', { id: '../../../../etc/passwd' }, /^INVALID_ARGUMENT the id is "..\/..\/..\/..\/etc\/passwd": ids have 20/],
    ['an empty id', { id: '' }, /^INVALID_ARGUMENT the id is ""/],
    ['a long id', { id: 'a'.repeat(10_000) }, /^INVALID_ARGUMENT the id is "a{60}"\.\.\./],
  ])('with %s', async (_, request, expected) => {
    expect(statusName(await download(client, request))).toMatch(expected);
    const { code, details } = await ask<Image>((done) => client.getImage(request, new Metadata(), done));
    expect(statusName({ code, details })).toMatch(expected);
  });

  it('with an offset beyond the end; at the end it is empty', async () => {
    const { id } = await send(picture);
    const at = (offset: number) => download(client, { id: id!, original: true, offset });
    expect(statusName(await at(picture.length + 1))).toBe(
      `INVALID_ARGUMENT the offset is ${picture.length + 1}: the file has ${picture.length} bytes`,
    );
    expect((await at(2 ** 60)).code).not.toBe(status.OK);
    expect(await at(picture.length)).toMatchObject({ code: 0, bytes: Buffer.alloc(0) });
    expect(await at(100)).toMatchObject({ code: 0, bytes: picture.subarray(100) });
  });
});

describe('a list', () => {
  const list = (keywords: string[], pageSize: number, page = '') =>
    ask<{ images: Image[]; nextPage: string }>((done) => client.listImages({ keywords, pageSize, page }, new Metadata(), done));

  it('is refused with too large a page', async () => {
    expect(statusName(await list([], 1_001))).toBe('INVALID_ARGUMENT page_size is 1001: 1000 is the most');
  });

  it('is refused from a page that there is not', async () => {
    expect(statusName(await list([], 10, 'no-such-page'))).toMatch(/^INVALID_ARGUMENT/);
  });

  it('has each picture with the keyword once, page by page, newest first', async () => {
    const keywords = ['paged'];
    const ids: string[] = [];
    for (let index = 0; index < 5; index++) ids.unshift((await send(picture, { keywords })).id!);
    const seen: string[] = [];
    let page = '';
    do {
      const { answer } = await list(['PAGED'], 2, page);
      seen.push(...answer!.images.map(({ id }) => id));
      page = answer!.nextPage;
    } while (page !== '');
    expect(seen.toSorted()).toEqual(ids.toSorted());
  });
});

describe('a server', () => {
  it('refuses what is no message, and goes on', async () => {
    const raw = new Client(system.observer.catalog.servers()[0]!.address!, credentials.createInsecure(), clientOptions);
    const bytes = (value: Buffer): Buffer => value;
    const { code } = await ask<Buffer>((done) =>
      raw.makeUnaryRequest('/lab.images.v1.Images/GetImage', bytes, bytes, Buffer.from([0xff, 0xff, 0xff]), done),
    );
    raw.close();
    expect(code).not.toBe(status.OK);
    expect((await send(picture)).code).toBe(status.OK);
  });

  it('has no clients when all is done', async () => {
    await eventually(() => system.observer.catalog.servers()[0]!.activeClients === 0);
  });
});
