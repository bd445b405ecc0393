import { zstdCompressSync } from 'node:zlib';
import { MalformedMessageError } from '@lab/protocol/messages';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeMessage } from './message-words.ts';
import {
  decode,
  encode,
  pieces,
  notesSchema,
  packHashes,
  packJson,
  packOffer,
  unpackHashes,
  unpackJson,
  unpackOffer,
  pieceBytes,
  unpackPiece,
  unpackText,
  type Head,
  type Kind,
} from './messages.ts';

const hash = 'ab'.repeat(32);
const id = '0b5a7f0e-4d3c-4b5e-9a53-0a4f0d6c1a2b';
const progress = { files: 1, bytes: 2, sentBytes: 3 };
const outcome = { result: 'version' as const, version: 4, ...progress, storedBytes: 5, elapsedMs: 6.5, reason: 'why' };
const registration = { node: 'a', address: 'host:1', path: 'docs/ä\udcff', every: '30', keep: 3 };

/** One of each kind. */
const heads: Head[] = [
  { kind: 'failed', reason: 'no', code: 3 },
  { kind: 'backup', path: 'docs', checksum: hash },
  { kind: 'working', ...progress, total: 9 },
  { kind: 'unchanged', files: 1, bytes: 2 },
  { kind: 'offer' },
  { kind: 'want' },
  { kind: 'bundle' },
  { kind: 'kept', bytes: 5 },
  { kind: 'manifest', more: true },
  { kind: 'tree', checksum: hash },
  { kind: 'stored', outcome },
  { kind: 'register', ...registration },
  { kind: 'unregister', node: 'a', path: 'docs', forget: true },
  { kind: 'backupNow', node: 'a', path: 'docs' },
  { kind: 'list' },
  { kind: 'list', node: 'a', path: 'docs', last: 3 },
  { kind: 'forget', node: 'a', path: 'docs', version: 2 },
  { kind: 'status' },
  { kind: 'verify' },
  { kind: 'shutdown' },
  { kind: 'answer', more: false },
  { kind: 'fetch', node: 'a', path: 'docs', version: 2 },
  { kind: 'version' },
  { kind: 'damaged' },
  { kind: 'need' },
  { kind: 'sent' },
  { kind: 'suspect', hash },
  { kind: 'command', id, replyTo: 'replies.1' },
  { kind: 'reply', id, failed: 'no' },
  { kind: 'due', attempt: id, ...registration },
  { kind: 'scrub', slice: 7 },
  { kind: 'sweep', graceMs: 1000 },
  { kind: 'progress', attempt: id, node: 'a', path: 'docs', ...progress },
  { kind: 'ended', attempt: id, node: 'a', path: 'docs', outcome },
  { kind: 'stop' },
];

describe('a message', () => {
  it.each(heads)('of kind $kind comes back as it was, with any body', (head) => {
    for (const body of [undefined, Buffer.alloc(0), Buffer.from([0, 1, 255])]) {
      const bytes = body === undefined ? encode(head) : encode(head, body);
      const message = decode(bytes, 'stop', head.kind);
      expect(message.head).toEqual(head);
      expect(message.body.equals(body ?? Buffer.alloc(0))).toBe(true);
    }
  });

  it.each<[Kind, object]>([
    ['backup', { path: '' }],
    ['backup', { path: 'x'.repeat(4097) }],
    ['backup', { path: 5 }],
    ['backup', {}],
    ['backup', { path: 'a', checksum: 'short' }],
    ['register', { ...registration, node: '../a' }],
    ['register', { ...registration, node: '' }],
    ['register', { ...registration, keep: 0 }],
    ['register', { ...registration, keep: 1.5 }],
    ['register', { ...registration, every: 30 }],
    ['register', { ...registration, address: 'x'.repeat(301) }],
    ['unregister', { node: 'a', path: 'docs' }],
    ['unregister', { node: 'a', path: 'docs', forget: 'yes' }],
    ['fetch', { node: 'a', path: 'docs', version: 0, partial: false }],
    ['fetch', { node: 'a', path: 'docs', version: -1, partial: false }],
    ['suspect', { hash: '../../../etc/passwd' }],
    ['suspect', { hash: `${hash}\n` }],
    ['kept', { bytes: -1 }],
    ['kept', { bytes: 1e300 }],
    ['working', { files: 1, bytes: 2 }],
    ['due', { ...registration, attempt: 'one' }],
    ['ended', { attempt: id, node: 'a', path: 'docs', outcome: { ...outcome, result: 'perfect' } }],
    ['reply', { id: '1' }],
    ['failed', { reason: 'x'.repeat(8193) }],
  ])('%s with %j is refused', (kind, fields) => {
    expect(() => decode(encode({ kind, ...fields } as Head), kind)).toThrow(MalformedMessageError);
  });
});

describe('the notes of a tree', () => {
  const note = { path: 'a\udc80', note: 'gone' };

  it('are a hundred at the most, each short', () => {
    const most = { notes: Array.from({ length: 100 }, () => note), leftOut: 7 };
    expect(notesSchema.parse(unpackJson(packJson(most)))).toEqual(most);
  });

  it.each<[string, unknown]>([
    ['more of them', { notes: Array.from({ length: 101 }, () => note), leftOut: 0 }],
    ['a long one', { notes: [{ ...note, note: 'x'.repeat(100_000) }], leftOut: 0 }],
    ['a long path', { notes: [{ ...note, path: 'x'.repeat(100_000) }], leftOut: 0 }],
    ['one without a path', { notes: [{ note: 'x' }], leftOut: 0 }],
    ['fewer than none left out', { notes: [], leftOut: -1 }],
    ['none', null],
  ])('with %s are refused', (_, notes) => {
    expect(notesSchema.safeParse(notes).success).toBe(false);
  });
});

describe('a manifest in pieces', () => {
  const joined = (text: string): string =>
    Buffer.concat([...pieces('manifest', text)].map(({ body }) => unpackPiece(body))).toString();

  it('is the text', () => {
    for (const length of [0, 1, pieceBytes - 1, pieceBytes, pieceBytes + 1, 2 * pieceBytes]) {
      const text = 'x'.repeat(length);
      const sent = [...pieces('manifest', text)];
      expect(joined(text) === text).toBe(true);
      expect(sent.map(({ head }) => head.more)).toEqual(sent.map((_, index) => index < sent.length - 1));
      expect(sent).toHaveLength(Math.max(1, Math.ceil(length / pieceBytes)));
      expect([...pieces('manifest', text, true)].every(({ head }) => head.more)).toBe(true);
    }
  });

  it('keeps a character that lies over their border', () => {
    for (const before of [pieceBytes - 3, pieceBytes - 2, pieceBytes - 1, pieceBytes]) {
      const text = `${'x'.repeat(before)}😀 and more`;
      expect(joined(text) === text).toBe(true);
    }
  });

  it('is refused where one unpacks to more than a piece', () => {
    const [piece] = [...pieces('answer', 'x'.repeat(pieceBytes))];
    expect(unpackPiece(piece!.body)).toHaveLength(pieceBytes);
    expect(() => unpackPiece(zstdCompressSync(Buffer.alloc(pieceBytes + 1)))).toThrow(MalformedMessageError);
  });
});

describe('a packed body', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => void expect(unpackJson(packJson(value))).toEqual(JSON.parse(JSON.stringify(value)))),
    );
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => void expect(unpackText(zstdCompressSync(text))).toBe(text)));
  });

  it('of names that are no text comes back as it was, for JSON escapes them', () => {
    expect(unpackJson(packJson({ path: 'a\udc80😀' }))).toEqual({ path: 'a\udc80😀' });
  });

  it('of rubbish, or cut off, is refused', () => {
    const packed = zstdCompressSync('some text that is long enough to be cut');
    for (let length = 1; length < packed.length; length++)
      expect(() => unpackText(packed.subarray(0, length))).toThrow(MalformedMessageError);
    for (const rubbish of [Buffer.from('x'), Buffer.alloc(100)]) expect(() => unpackText(rubbish)).toThrow(MalformedMessageError);
    expect(() => unpackJson(zstdCompressSync('{'))).toThrow();
  });

  it('that would become more than a manifest may have is refused', () => {
    // Frames one behind the other are one text.
    const part = zstdCompressSync(Buffer.alloc(16 * 1024 * 1024));
    const bomb = Buffer.concat(Array.from({ length: 17 }, () => part));
    expect(bomb.length).toBeLessThan(40_000);
    expect(() => unpackText(bomb)).toThrow(MalformedMessageError);
  });
});

describe('a list', () => {
  const hashes = fc.array(
    fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex')),
    { maxLength: 20 },
  );

  it('of hashes or of an offer comes back as it was', () => {
    fc.assert(fc.property(hashes, (list) => void expect(unpackHashes(packHashes(list))).toEqual(list)));
    fc.assert(
      fc.property(hashes, fc.nat(0xffffffff), (list, size) => {
        const offer = list.map((each): [string, number] => [each, size]);
        expect(unpackOffer(packOffer(offer))).toEqual(offer);
      }),
    );
  });

  it('of a length that does not fit, or far too long, is refused', () => {
    for (const length of [1, 31, 33]) expect(() => unpackHashes(Buffer.alloc(length))).toThrow(MalformedMessageError);
    for (const length of [1, 35, 37, 36 * 1_000_001])
      expect(() => unpackOffer(Buffer.alloc(length))).toThrow(MalformedMessageError);
  });
});

it('what is about one attempt, or one command, is told apart from others in traces', () => {
  const [attempt, other] = ['1a2b3c4d-0000-4000-8000-000000000000', '5e6f7a8b-0000-4000-8000-000000000000'];
  const about = { node: 'n', path: 'docs' };
  const progress = (each: string): Buffer =>
    encode({ kind: 'progress', attempt: each, ...about, files: 1, bytes: 2, sentBytes: 3 });
  expect([progress(attempt), progress(other), encode({ kind: 'reply', id: other })].map(describeMessage)).toEqual([
    'progress n/docs of 1a2b3c4d',
    'progress n/docs of 5e6f7a8b',
    'reply of 5e6f7a8b',
  ]);
});
