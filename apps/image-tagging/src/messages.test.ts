import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CatalogEvent } from './domain/catalog.ts';
import { decodeEvent, decodeJob, describeMessage, encodeEvent, encodeJob, resultEvent, resultSchema } from './messages.ts';

const id = fc.stringMatching(/^[a-z2-7]{20}$/);
const sha256 = fc.stringMatching(/^[0-9a-f]{64}$/);
const text = fc.string({ unit: 'grapheme' });
const tagged = fc.record({ name: fc.uuid().map((uuid) => `tagged-${uuid}.jpg`), bytes: fc.nat(), sha256 });
const upload = fc.record({
  ...{ id, fileName: text, bytes: fc.maxSafeNat(), sha256, keywords: fc.array(text), mediaType: text },
  ...{ width: fc.nat(), height: fc.nat(), uploadedMs: fc.maxSafeNat() },
});
const event: fc.Arbitrary<CatalogEvent> = fc.oneof(
  fc.record({ type: fc.constant('server-started' as const), address: text }),
  fc.record({ type: fc.constant('clients-counted' as const), count: fc.nat() }),
  fc.record({ type: fc.constant('picture-uploaded' as const), upload }),
  fc.record({ type: fc.constant('picture-tagged' as const), id, tagged }),
  fc.record({ type: fc.constant('picture-failed' as const), id, reason: text }),
  fc.constant({ type: 'asked' as const }),
);

describe('events and jobs', () => {
  it('come out as they went in', () => {
    fc.assert(fc.property(event, (each) => void expect(decodeEvent(encodeEvent(each))).toEqual(each)));
    const job = fc.record({ id, keywords: fc.array(text) });
    fc.assert(fc.property(job, (each) => void expect(decodeJob(encodeJob(each))).toEqual(each)));
  });

  it('are undefined where bytes are none of them', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((json) => Buffer.from(json)),
        ),
        (bytes) => {
          expect(decodeEvent(Buffer.from(bytes))).toBeUndefined();
          expect(decodeJob(Buffer.from(bytes))).toBeUndefined();
        },
      ),
    );
  });

  it('of a later version, with fields that this one does not know, are taken without them', () => {
    expect(decodeEvent(Buffer.from('{"type":"clients-counted","count":1,"since":"Tuesday"}'))).toEqual({
      type: 'clients-counted',
      count: 1,
    });
  });

  it.each([
    ['an id that is a path', { type: 'picture-failed', id: '../../../../../../x', reason: '' }],
    ['a count below zero', { type: 'clients-counted', count: -1 }],
    ['half a client', { type: 'clients-counted', count: 0.5 }],
    [
      'a tagged file that is a path',
      { type: 'picture-tagged', id: 'a'.repeat(20), tagged: { name: 'tagged-/../x.jpg', bytes: 1, sha256: '0'.repeat(64) } },
    ],
    ['another type', { type: 'server-stopped' }],
  ])('are undefined with %s', (_, value) => expect(decodeEvent(Buffer.from(JSON.stringify(value)))).toBeUndefined());
});

it('entries of the log are told apart in traces: by whose they are, and by their number', () => {
  const entry = (header: object, event?: CatalogEvent): string =>
    describeMessage(
      Buffer.concat([Buffer.from(`\0\0\0\0${JSON.stringify(header)}`), event ? encodeEvent(event) : Buffer.alloc(0)]),
    );
  const message = (sender: string, number: number) => ({ kind: 'message', sender, number, service: 'agreed' });
  const counted: CatalogEvent = { type: 'clients-counted', count: 1 };
  expect([
    entry(message('svc-1', 1), counted),
    entry(message('svc-1', 2), counted),
    entry(message('svc-2', 1), { type: 'picture-failed', id: 'a'.repeat(20), reason: '' }),
    entry({ kind: 'view', epoch: 3, number: 2, cause: 'join', members: [] }),
    entry({ kind: 'leave', sender: 'svc-2' }),
    describeMessage(encodeEvent({ type: 'asked' })),
    describeMessage(encodeJob({ id: 'a'.repeat(20), keywords: [] })),
  ]).toEqual([
    'clients-counted 1 of svc-1 #1',
    'clients-counted 1 of svc-1 #2',
    `picture-failed ${'a'.repeat(20)} of svc-2 #1`,
    'view in epoch 3 #2',
    'leave of svc-2',
    'asked',
    `job ${'a'.repeat(20)}`,
  ]);
});

describe('a result', () => {
  const name = 'tagged-1.jpg';
  it('becomes the event that tells it', () => {
    const file = { name, bytes: 1, sha256: '0'.repeat(64) };
    expect(resultEvent('x', { tagged: file })).toEqual({ type: 'picture-tagged', id: 'x', tagged: file });
    expect(resultEvent('x', { reason: 'damaged' })).toEqual({ type: 'picture-failed', id: 'x', reason: 'damaged' });
  });

  it.each(['../x.jpg', 'tagged-../x.jpg', 'result.json', 'data', 'tagged-1', 'tagged-A.jpg', 'tagged-1.jpg\n'])(
    'names no file but a tagged one in the folder of its picture: %j is refused',
    (wrong) => {
      const result = { tagged: { name: wrong, bytes: 1, sha256: '0'.repeat(64) } };
      expect(resultSchema.safeParse(result).success).toBe(false);
    },
  );
});
