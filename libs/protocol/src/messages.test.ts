import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { MalformedMessageError, messageCodec } from './messages.ts';

const schemas = {
  words: z.object({ kind: z.literal('words'), from: z.string().optional() }),
  count: z.object({ kind: z.literal('count'), words: z.int().min(0) }),
} as const;
const { encode, encodeParts, decode } = messageCodec(schemas, 1024);

const raw = (json: string, body = ''): Buffer => {
  const head = Buffer.from(json);
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(head.length);
  return Buffer.concat([prefix, head, Buffer.from(body)]);
};
const refused = (bytes: Buffer, ...kinds: (keyof typeof schemas)[]): void =>
  void expect(() => decode(bytes, ...kinds)).toThrow(MalformedMessageError);

describe('a message', () => {
  it('is a length, a head and a body, and comes back as it was', () => {
    const bytes = encode({ kind: 'count', words: 2 }, Buffer.from('one '), Buffer.from('two'));
    expect(bytes).toEqual(raw('{"kind":"count","words":2}', 'one two'));
    expect(bytes).toEqual(Buffer.concat(encodeParts({ kind: 'count', words: 2 }, Buffer.from('one two'))));
    expect(decode(bytes, 'words', 'count')).toEqual({ head: { kind: 'count', words: 2 }, body: Buffer.from('one two') });
    expect(decode(encode({ kind: 'words' }), 'words').body).toHaveLength(0);
  });

  it('leaves out what its kind does not have', () => {
    expect(decode(raw('{"kind":"words","__proto__":{"x":1},"more":5}'), 'words').head).toEqual({ kind: 'words' });
  });

  it('of another kind than expected is refused, in words that name both', () => {
    expect(() => decode(encode({ kind: 'words' }), 'count')).toThrow('expected count, not {"kind":"words"}');
    for (const kind of ['constructor', '__proto__', 'toString', '']) refused(raw(JSON.stringify({ kind })), 'words', 'count');
  });

  it('whose fields are wrong is refused, in words that name them', () => {
    expect(() => decode(raw('{"kind":"count","words":-1}'), 'count')).toThrow(/^count: .*words/);
  });

  it('that is cut off, or of rubbish, is refused', () => {
    const bytes = encode({ kind: 'count', words: 2 });
    for (let length = 0; length < bytes.length; length++) refused(bytes.subarray(0, length), 'count');
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (rubbish) => void refused(Buffer.from(rubbish), 'words', 'count')));
    for (const json of ['', 'null', '5', '"words"', '[]', '[{"kind":"words"}]', '{', '{"kind":5}', '{"kind":null}', '{}'])
      refused(raw(json), 'words');
  });

  it('whose head is said to be huge is refused before anything is read of it', () => {
    const bytes = Buffer.alloc(100);
    for (const length of [97, 1025, 0x7fffffff, 0xffffffff]) {
      bytes.writeUInt32BE(length);
      refused(bytes, 'words');
    }
    refused(raw(JSON.stringify({ kind: 'words', from: 'x'.repeat(1024) })), 'words');
  });
});
