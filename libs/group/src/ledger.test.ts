import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeEntry, encodeEntry, type Entry, type MessageEntry, type ViewEntry } from './entries.ts';
import { firstHead, Ledger } from './ledger.ts';

const [a, b, c] = ['a#x.0', 'b#y.1', 'c#z.2'] as const;

const view = (epoch: number, number: number, ...members: string[]): ViewEntry => ({
  kind: 'view',
  epoch,
  number,
  cause: 'join',
  members,
});
const message = (sender: string, number: number): MessageEntry => ({
  ...{ kind: 'message', sender, number, service: 'agreed', body: Buffer.from(`${sender} ${number}`) },
});

/** A ledger that has read this. */
function read(...entries: readonly Entry[]): Ledger {
  const ledger = new Ledger('log');
  for (const entry of [firstHead, ...entries]) ledger.accept(entry, 100);
  return ledger;
}

describe('a view', () => {
  test('is the next word of the present writer, or one of a later writer', () => {
    const ledger = read(view(2, 1, a));
    expect(ledger.accept(view(2, 3, a, b), 0)).toBeUndefined();
    expect(ledger.accept(view(1, 2, a, b), 0)).toBeUndefined();
    expect(ledger.accept(view(2, 2, a, b), 0)).toEqual({ type: 'view', previous: [a] });
    expect(ledger.accept(view(5, 7, a), 0)).toEqual({ type: 'view', previous: [a, b] });
    expect([ledger.viewId, ledger.members]).toEqual(['5.7', [a]]);
  });

  test('counts once: the second copy does not undo the one after it', () => {
    const ledger = read(view(1, 1, a, b), view(1, 2, a));
    expect(ledger.accept(view(1, 1, a, b), 0)).toBeUndefined();
    expect(ledger.accept(view(1, 2, a), 0)).toBeUndefined();
    expect(ledger.members).toEqual([a]);
  });

  test('brings nobody back who was out, and nobody whom the order of arrival has passed', () => {
    const ledger = read(view(1, 1, a, c), view(1, 2, a));
    ledger.accept(view(2, 1, a, b, c), 0);
    expect(ledger.members).toEqual([a]);
    expect(ledger.sequenceMax).toBe(2);
  });

  test('passes those by who came before its newest member, even if that one does not stay', () => {
    const ledger = read(view(1, 1, a, c));
    ledger.accept(view(2, 1, a), 0);
    expect([ledger.members, ledger.sequenceMax]).toEqual([[a], 2]);
  });

  test('tells its writer what to write next', () => {
    const ledger = read(view(3, 4, a));
    expect(ledger.nextStamp(3)).toEqual({ epoch: 3, number: 5 });
    expect(ledger.nextStamp(4)).toEqual({ epoch: 4, number: 1 });
    expect(ledger.accept(view(4, 1, a, b), 0)).toBeDefined();
  });
});

describe('a message', () => {
  test('counts if it is the next one of a member, in whatever order and however often it comes', () => {
    const ledger = read(view(1, 1, a, b));
    const accepts = (entry: MessageEntry): boolean => ledger.accept(entry, 0) !== undefined;
    expect([message(a, 2), message(a, 1), message(a, 1), message(a, 2), message(b, 1), message(a, 3)].map(accepts)).toEqual([
      ...[false, true, false, true, true, true],
    ]);
    expect([ledger.lastOf(a), ledger.lastOf(b), ledger.lastOf(c)]).toEqual([3, 1, 0]);
  });

  test('of one that is no member does not count, nor does anything of a member that is out', () => {
    const ledger = read(view(1, 1, a, b), message(b, 1), view(1, 2, a));
    expect(ledger.accept(message(b, 2), 0)).toBeUndefined();
    expect(ledger.accept(message(b, 1), 0)).toBeUndefined();
    expect(ledger.accept(message(c, 1), 0)).toBeUndefined();
  });
});

describe('the cause of a view', () => {
  test('is leave where all that are out have said goodbye, and what the writer says otherwise', () => {
    const ledger = read(view(1, 1, a, b, c), { kind: 'leave', sender: b });
    ledger.accept({ ...view(1, 2, a), cause: 'disconnect' }, 0);
    expect(ledger.cause).toBe('disconnect');
    const other = read(view(1, 1, a, b, c), { kind: 'leave', sender: b }, { kind: 'leave', sender: 'd#v.3' });
    other.accept({ ...view(1, 2, a, c), cause: 'disconnect' }, 0);
    expect(other.cause).toBe('leave');
    other.accept({ ...view(1, 3, a), cause: 'disconnect' }, 0);
    expect(other.cause).toBe('disconnect');
  });
});

describe('a log', () => {
  test('begins with its head, and has one', () => {
    const ledger = new Ledger('log');
    expect(ledger.accept(view(1, 1, a), 50)).toBeUndefined();
    expect(ledger.begun).toBe(false);
    expect(ledger.accept({ ...firstHead, members: [a] }, 70)).toMatchObject({ type: 'head' });
    expect(ledger.accept({ ...firstHead, members: [b] }, 30)).toBeUndefined();
    expect([ledger.begun, ledger.members, ledger.bytes]).toEqual([true, [a], 30]);
  });

  test('ends at its close: nothing behind it counts', () => {
    const ledger = read(view(1, 1, a));
    expect(ledger.accept({ kind: 'close', epoch: 1, number: 3 }, 0)).toBeUndefined();
    expect(ledger.accept({ kind: 'close', epoch: 1, number: 2 }, 0)).toEqual({ type: 'closed' });
    for (const late of [message(a, 1), view(9, 1, a, b), { kind: 'close', epoch: 9, number: 1 }] as const) {
      expect(ledger.accept(late, 0)).toBeUndefined();
    }
    ledger.accept({ kind: 'leave', sender: a }, 0);
    expect([ledger.closed, ledger.members, ledger.lastOf(a)]).toEqual([true, [a], 0]);
    expect(ledger.successor(Buffer.alloc(0)).leaving).toEqual([]);
  });

  test('goes on in the next one as if it were the same, written and read', () => {
    const entries = [
      view(2, 1, a, b, c),
      message(a, 1),
      message(b, 1),
      message(c, 1),
      message(a, 2),
      { kind: 'leave', sender: b } as const,
    ];
    const before = read(...entries, view(2, 2, a, b), { kind: 'close', epoch: 2, number: 3 });
    const head = before.successor(Buffer.from('the state'));
    const next = new Ledger('next');
    next.accept(decodeEntry(encodeEntry(head))!, 0);
    expect(head).toMatchObject({ previous: 'log', viewId: '2.2' });
    for (const ledger of [before, next]) {
      expect([ledger.viewId, ledger.cause, ledger.members, ledger.epoch, ledger.sequenceMax]).toEqual([
        '2.2',
        'join',
        [a, b],
        2,
        2,
      ]);
      expect([a, b, c].map((id) => ledger.lastOf(id))).toEqual([2, 1, 0]);
      expect(ledger.successor(head.state).leaving).toEqual([b]);
      expect(ledger.nextStamp(2)).toEqual({ epoch: 2, number: 4 });
    }
    expect([next.stateBytes, next.bytes]).toEqual([9, 0]);
    expect(next.accept(message(a, 2), 0)).toBeUndefined();
    expect(next.accept(message(a, 3), 0)).toBeDefined();
  });
});

const anyId = fc.constantFrom(a, b, c, 'd#v.3');
const anyStamp = { epoch: fc.integer({ min: 1, max: 3 }), number: fc.integer({ min: 1, max: 4 }) };
const anyEntry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({ sender: anyId, number: fc.integer({ min: 1, max: 4 }) }).map(({ sender, number }) => message(sender, number)),
  fc.record({ ...anyStamp, members: fc.uniqueArray(anyId) }).map(({ epoch, number, members }) => view(epoch, number, ...members)),
  fc.record(anyStamp).map((stamp) => ({ kind: 'close' as const, ...stamp })),
  anyId.map((sender) => ({ kind: 'leave' as const, sender })),
);

test('whatever stands in a log: stamps grow, nobody comes back, and each member counts 1, 2, 3 ... while it is in', () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { maxLength: 60 }), (entries) => {
      const ledger = read();
      const counts = new Map<string, number>();
      const out = new Set<string>();
      let stamp = { epoch: 0, number: 0 };
      for (const entry of entries) {
        const before = ledger.members;
        const accepted = ledger.accept(entry, 1);
        if (accepted?.type === 'message') {
          expect(before).toContain(accepted.entry.sender);
          expect(accepted.entry.number).toBe((counts.get(accepted.entry.sender) ?? 0) + 1);
          counts.set(accepted.entry.sender, accepted.entry.number);
        }
        if (accepted?.type === 'view' && entry.kind === 'view') {
          expect(entry.epoch > stamp.epoch || (entry.epoch === stamp.epoch && entry.number === stamp.number + 1)).toBe(true);
          stamp = entry;
          for (const id of before) if (!ledger.members.includes(id)) out.add(id);
          expect(ledger.members.filter((id) => out.has(id))).toEqual([]);
        }
      }
    }),
    { numRuns: 500 },
  );
});
