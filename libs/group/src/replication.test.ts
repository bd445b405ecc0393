import { describe, expect, test } from 'vitest';
import { Scroll } from '../test/scroll.ts';
import { splitParts } from './parts.ts';
import type { Cause, Member, Message, View } from './port.ts';
import { encodeCommand, Replication, type Outcome } from './replication.ts';

const member = (name: string): Member => ({ id: `#${name}#d`, name });
const base = { type: 'base', state: undefined } as const;
const message = (name: string, body: Buffer): Message => ({ type: 'message', sender: member(name), service: 'agreed', body });
let commands = 0;
const say = (name: string, text: string, epoch?: number): Message =>
  message(name, encodeCommand({ token: name, number: ++commands }, Buffer.from(text), epoch));

/** One copy: what it is told, what it wants to multicast, what came of it. */
class Copy {
  readonly scroll = new Scroll();
  readonly replication: Replication;
  readonly name: string;
  readonly sent: Buffer[] = [];

  constructor(name: string, history = false, bodyBytesMax = 1_100) {
    this.name = name;
    const isCandidate = (each: Member): boolean => each.name !== 'watcher';
    this.replication = new Replication({ machine: this.scroll, isCandidate, token: name, history, bodyBytesMax });
  }

  tell(...events: readonly Parameters<Replication['handle']>[0][]): Outcome[] {
    const outcomes = events.flatMap((event) => this.replication.handle(event));
    for (const outcome of outcomes) {
      if (outcome.type === 'send') this.sent.push(outcome.body);
      if (outcome.type === 'sendState') this.sent.push(...outcome.bodies);
    }
    return outcomes.filter(({ type }) => type !== 'send' && type !== 'sendState');
  }

  view(id: string, cause: Cause, members: readonly string[], together = members): Outcome[] {
    const view: View = {
      ...{ type: 'view', id, cause, members: members.map(member), self: member(this.name).id },
      together: together.map((name) => member(name).id),
    };
    return this.tell(view);
  }

  get ages(): string[] | undefined {
    return this.replication.view?.members.map(({ name }) => name);
  }
}

const kindsOf = (bodies: readonly Buffer[]): unknown[] => bodies.map((body) => splitParts(body)?.header['kind']);

/** All that all of them want to multicast comes to all of them, until nobody wants to say more. */
function deliver(...copies: readonly Copy[]): void {
  for (let sender = copies.find(({ sent }) => sent.length > 0); sender; sender = copies.find(({ sent }) => sent.length > 0)) {
    const event = message(sender.name, sender.sent.shift()!);
    for (const copy of copies) copy.tell(event);
  }
}

/** Alone in its group. */
function founded(name: string): Copy {
  const copy = new Copy(name);
  copy.tell(base);
  copy.view('1', 'join', [name]);
  deliver(copy);
  return copy;
}

/** Two in a group; `b` came first. */
function pair(): [Copy, Copy] {
  const [b, a] = [founded('b'), new Copy('a')];
  b.tell(say('b', 'one'));
  a.tell(base);
  b.view('2', 'join', ['a', 'b'], ['b']);
  a.view('2', 'join', ['a', 'b'], ['a']);
  deliver(a, b);
  return [a, b];
}

describe('a leader', () => {
  test('is the candidate that came first, whatever the order of the view, and each has an epoch of its own', () => {
    const [a, b] = pair();
    expect([a.ages, b.ages]).toEqual([
      ['b', 'a'],
      ['b', 'a'],
    ]);
    expect(a.replication.leadership).toEqual({ leader: member('b'), epoch: 1 });
    a.view('3', 'disconnect', ['a']);
    expect(a.replication.leadership).toEqual({ leader: member('a'), epoch: 2 });
  });

  test('is nobody while there is no candidate', () => {
    const watcher = founded('watcher');
    expect(watcher.replication.leadership).toBeUndefined();
    watcher.view('2', 'join', ['b', 'watcher'], ['watcher']);
    expect(watcher.replication.leadership).toEqual({ leader: member('b'), epoch: 1 });
  });

  test('counts only in its own epoch, and nobody else as leader at all', () => {
    const [a] = pair();
    const kinds = (...events: readonly Message[]): string[] => a.tell(...events).map(({ type }) => type);
    expect(kinds(say('b', 'as leader', 1), say('b', 'too soon', 2), say('a', 'not leader', 1))).toEqual([
      ...['applied', 'fenced', 'fenced'],
    ]);
    a.view('3', 'disconnect', ['a']);
    a.view('4', 'join', ['a', 'b'], ['a']);
    expect(kinds(say('b', 'once leader', 1), say('b', 'not now', 2), say('a', 'now', 2))).toEqual([
      'fenced',
      'fenced',
      'applied',
    ]);
  });

  test('stays, in its epoch, when another comes back under an old id and without a state', () => {
    const [, b] = pair();
    const a = new Copy('a');
    a.tell(base);
    for (const copy of [a, b]) copy.view('5', 'network', ['a', 'b'], [copy.name]);
    deliver(a, b);
    expect([b.ages, b.replication.leadership?.epoch]).toEqual([['b', 'a'], 1]);
    expect(a.scroll.lines).toEqual(b.scroll.lines);
  });
});

describe('a newcomer', () => {
  test('has the state in parts, and what came meanwhile, but not before', () => {
    const [b, a] = [founded('b'), new Copy('a')];
    for (let line = 0; line < 30; line++) b.tell(say('b', `line ${line}`));
    a.tell(base);
    b.view('2', 'join', ['a', 'b'], ['b']);
    a.view('2', 'join', ['a', 'b'], ['a']);
    const before = say('b', 'before the place');
    for (const copy of [a, b]) copy.tell(before);
    const ask = message('a', a.sent.shift()!);
    for (const copy of [a, b]) copy.tell(ask);
    expect(b.sent.length).toBeGreaterThan(5);
    const after = say('b', 'behind the place');
    expect(a.tell(after)).toEqual([]);
    b.tell(after);
    expect([a.replication.view, a.replication.leadership]).toEqual([undefined, undefined]);
    const bodies = b.sent.splice(0);
    const outcomes = bodies.flatMap((body) => a.tell(message('b', body)));
    expect(outcomes.map(({ type }) => type)).toEqual(['applied', 'restored']);
    expect(a.scroll.lines).toEqual(b.scroll.lines);
    expect(a.replication.view?.id).toBe('2');
  });

  test('asks again in each view, and another sends where the first one died', () => {
    const [a, b] = pair();
    const c = new Copy('c');
    c.tell(base);
    for (const copy of [a, b, c]) copy.view('3', 'join', ['a', 'b', 'c'], copy === c ? ['c'] : ['a', 'b']);
    const ask = message('c', c.sent.shift()!);
    for (const copy of [a, b, c]) copy.tell(ask);
    // The first in the view of those that have it.
    expect([kindsOf(a.sent)[0], kindsOf(b.sent)]).toEqual(['state', []]);
    for (const copy of [b, c]) copy.view('4', 'disconnect', ['b', 'c']);
    deliver(b, c);
    expect(c.scroll.lines).toEqual(b.scroll.lines);
  });

  test('that is alone, or among others that have none, begins with the empty state', () => {
    const copies = [new Copy('a'), new Copy('b')];
    for (const copy of copies) copy.tell(base);
    for (const copy of copies) copy.view('2', 'join', ['a', 'b'], [copy.name]);
    const early = say('a', 'early');
    for (const copy of copies) copy.tell(early);
    expect(copies.map(({ replication }) => replication.view)).toEqual([undefined, undefined]);
    deliver(...copies);
    for (const { scroll } of copies) expect(scroll.lines).toEqual(['members #a#d,#b#d', '#a#d early']);
  });

  test('takes no state from one that has lost it since', () => {
    const [a, b] = pair();
    const c = new Copy('c');
    c.tell(base);
    for (const copy of [a, b, c]) copy.view('3', 'join', ['a', 'b', 'c'], copy === c ? ['c'] : ['a', 'b']);
    const ask = message('c', c.sent.shift()!);
    for (const copy of [a, b, c]) copy.tell(ask);
    c.view('4', 'disconnect', ['b', 'c']);
    c.view('5', 'join', ['a', 'b', 'c'], ['b', 'c']);
    for (const body of a.sent.splice(0)) c.tell(message('a', body));
    expect(c.replication.view).toBeUndefined();
  });
});

describe('parts of a network that meet', () => {
  const meet = (id: string, copies: readonly Copy[], parts: readonly (readonly string[])[]): void => {
    const all = parts.flat().sort();
    for (const copy of copies)
      copy.view(
        id,
        'network',
        all,
        parts.find((part) => part.includes(copy.name)),
      );
  };

  test('go on with the state that has seen most, all of them, and wait until all have said', () => {
    const [a, b] = pair();
    a.view('a1', 'network', ['a']);
    b.view('b1', 'network', ['b']);
    b.tell(say('b', 'two'), say('b', 'three'));
    meet('5', [a, b], [['a'], ['b']]);
    const meanwhile = say('b', 'meanwhile');
    for (const copy of [a, b]) expect(copy.tell(meanwhile)).toEqual([]);
    deliver(a, b);
    for (const { scroll, ages } of [a, b]) {
      expect(scroll.lines.slice(-4)).toEqual(['#b#d two', '#b#d three', 'members #b#d,#a#d', '#b#d meanwhile']);
      expect(ages).toEqual(['b', 'a']);
    }
    expect(a.replication.leadership).toEqual({ leader: member('b'), epoch: 1 });
  });

  test('ask anew where one went before all was said', () => {
    const [a, b] = pair();
    a.view('a1', 'network', ['a']);
    b.view('b1', 'network', ['b']);
    b.tell(say('b', 'two'));
    meet('5', [a, b], [['a'], ['b']]);
    a.view('6', 'disconnect', ['a']);
    deliver(a);
    expect(a.scroll.lines.at(-1)).toBe('members #a#d');
    expect(a.replication.leadership).toEqual({ leader: member('a'), epoch: 2 });
  });

  test('do not lose their state to a newcomer that comes in such a view, first as it may be in it', () => {
    const b = founded('b');
    b.tell(say('b', 'kept'));
    const a = new Copy('a');
    a.tell(base);
    meet('5', [a, b], [['a'], ['b']]);
    deliver(a, b);
    for (const { scroll } of [a, b]) expect(scroll.lines).toContain('#b#d kept');
  });
});

describe('with history', () => {
  test('the base is the state, and the view that is told again behind it changes nothing', () => {
    const first = new Copy('b', true);
    first.tell({ type: 'base', state: Buffer.alloc(0) });
    first.view('1', 'join', ['b']);
    first.view('2', 'join', ['b', 'a'], ['b']);
    first.tell(say('b', 'one'));
    const second = new Copy('c', true);
    expect(second.tell({ type: 'base', state: first.replication.snapshot() })).toEqual([{ type: 'restored' }]);
    expect(second.replication.view).toBeUndefined();
    second.view('2', 'join', ['b', 'a'], []);
    for (const copy of [first, second]) copy.view('3', 'join', ['b', 'a', 'c'], copy === first ? ['b', 'a'] : ['c']);
    expect(second.scroll.lines).toEqual(first.scroll.lines);
    expect(second.replication.leadership).toEqual({ leader: member('b'), epoch: 1 });
    expect(second.sent).toEqual([]);
  });
});

test('what is no command does nothing', () => {
  const b = founded('b');
  const { lines } = b.scroll;
  const before = [...lines];
  for (const body of ['', 'text', '\0\0\0\u0002{}', '\0\0\0\u0012{"kind":"command"}']) {
    expect(b.tell(message('b', Buffer.from(body)))).toEqual([]);
  }
  expect(lines).toEqual(before);
});
