import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeEntry, encodeEntry, memberId, nameOf, sequenceOf, tokenOf, type Entry } from './entries.ts';
import { joinParts } from './parts.ts';
import { services, type Cause } from './port.ts';

const count = fc.nat();
const id = fc
  .record({ name: fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,9}$/), token: fc.stringMatching(/^[a-z0-9]{8}$/), count })
  .map((parts) => memberId(parts.name, parts.token, parts.count));
const body = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const cause = fc.constantFrom<Cause>('join', 'leave', 'disconnect', 'network');
const members = fc.array(id, { maxLength: 5 });
const anyEntry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({ kind: fc.constant('probe' as const), token: fc.string() }),
  fc.record({ kind: fc.constant('leave' as const), sender: id }),
  fc.record({ kind: fc.constant('close' as const), epoch: count, number: count }),
  fc.record({ kind: fc.constant('view' as const), epoch: count, number: count, cause, members }),
  fc.record({ kind: fc.constant('message' as const), sender: id, number: count, service: fc.constantFrom(...services), body }),
  fc.record({
    ...{ kind: fc.constant('head' as const), epoch: count, number: count, cause, members, leaving: members, state: body },
    ...{ previous: fc.option(fc.string(), { nil: undefined }), viewId: fc.option(fc.string(), { nil: undefined }) },
    ...{ accepted: fc.dictionary(id, count), sequenceMax: fc.integer({ min: -1 }) },
  }),
);

describe('an entry', () => {
  test('is read as it was written', () => {
    fc.assert(fc.property(anyEntry, (entry) => void expect(decodeEntry(encodeEntry(entry))).toEqual(entry)));
  });

  test('is none when its bytes end too soon, or are others', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => decodeEntry(Buffer.from(bytes)) === undefined));
    const bytes = encodeEntry({ kind: 'probe', token: 'x' });
    for (let end = 0; end < bytes.length; end++) expect(decodeEntry(bytes.subarray(0, end))).toBeUndefined();
    const length = Buffer.alloc(4);
    length.writeUInt32BE(0xffff_ffff);
    expect(decodeEntry(Buffer.concat([length, bytes.subarray(4)]))).toBeUndefined();
  });

  test('with any byte changed is an entry or none, and never an error', () => {
    fc.assert(
      fc.property(anyEntry, fc.nat(), fc.nat(255), (entry, at, value) => {
        const bytes = encodeEntry(entry);
        bytes[at % bytes.length] = value;
        decodeEntry(bytes);
      }),
      { numRuns: 1_000 },
    );
  });

  test.each<[string, object]>([
    ['an unknown kind', { kind: 'other' }],
    ['no kind', {}],
    ['a probe without a token', { kind: 'probe' }],
    ['a goodbye of nobody', { kind: 'leave', sender: 1 }],
    ['a close without a number', { kind: 'close', epoch: 1 }],
    ['a close of an epoch below 0', { kind: 'close', epoch: -1, number: 1 }],
    ['a message with a fraction as its number', { kind: 'message', sender: 'a#x.1', number: 1.5, service: 'safe' }],
    ['a message of no sender', { kind: 'message', number: 1, service: 'safe' }],
    ['a message of an unknown service', { kind: 'message', sender: 'a#x.1', number: 1, service: 'fast' }],
    ['a view of an unknown cause', { kind: 'view', epoch: 1, number: 1, cause: 'why', members: [] }],
    ['a view without members', { kind: 'view', epoch: 1, number: 1, cause: 'join' }],
    ['a view of a member that is no id', { kind: 'view', epoch: 1, number: 1, cause: 'join', members: ['a'] }],
    ['a view of a member that has no number', { kind: 'view', epoch: 1, number: 1, cause: 'join', members: ['a#x.y'] }],
    ['a view of numbers', { kind: 'view', epoch: 1, number: 1, cause: 'join', members: [1] }],
  ])('is none for %s', (_what, header) => {
    expect(decodeEntry(joinParts(header, Buffer.alloc(0)))).toBeUndefined();
  });

  const head = { kind: 'head', epoch: 1, number: 1, cause: 'join', members: [], accepted: {}, sequenceMax: 0, leaving: [] };
  test.each<object>([
    ...[{ epoch: 'x' }, { number: null }, { cause: 0 }, { members: {} }, { leaving: 'a' }, { previous: 7 }, { viewId: [] }],
    ...[{ sequenceMax: '1' }, { accepted: null }, { accepted: 'x' }, { accepted: { a: -1 } }],
  ])('is none for a head with %o', (broken) => {
    expect(decodeEntry(joinParts(head, Buffer.alloc(0)))).toBeDefined();
    expect(decodeEntry(joinParts({ ...head, ...broken }, Buffer.alloc(0)))).toBeUndefined();
  });
});

test("a member's id gives back its parts", () => {
  const made = memberId('a-b_c', 'tok3n', 120);
  expect([nameOf(made), tokenOf(made), sequenceOf(made)]).toEqual(['a-b_c', 'tok3n', 120]);
});
