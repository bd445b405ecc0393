import { describe, expect, it } from 'vitest';
import type { Change as Told, Item } from '../src/messages.ts';
import { longestWait, violations, type History, type Operation, type Outcome, type RecordedKind } from './history.ts';

const area = 'sports';
const node = 'n1:9000';

/** Moments are places in the list of a test: an operation takes from one to the next. */
type Change<K extends RecordedKind> = Partial<Omit<Operation<K>, 'kind' | 'outcome'>> & { outcome?: Outcome<K> };

function operation<K extends RecordedKind>(kind: K, at: number, asked: object, result: object, change: object = {}): Operation {
  const times = { invokedMs: at * 10, completedMs: at * 10 + 5 };
  const outcome = { is: 'ok', result, node };
  return { kind, user: 'ana', session: 's1', area, asked, ...times, outcome, ...change } as Operation;
}

const item = (number: number, author = 'ana', text = `text ${number}`): Item => ({ number, author, text, postedAt: '' });
const items = (...numbers: number[]): Item[] => numbers.map((number) => item(number));

const subscribe = (at: number, change: Change<'subscribe'> = {}) =>
  operation('subscribe', at, {}, { area, changed: true }, change);
const unsubscribe = (at: number, change: Change<'unsubscribe'> = {}) =>
  operation('unsubscribe', at, {}, { area, changed: true }, change);
const post = (at: number, number: number, change: Change<'post'> = {}) =>
  operation('post', at, { text: `text ${number}` }, { area, number }, change);
const remove = (at: number, number: number, change: Change<'delete'> = {}) =>
  operation('delete', at, { number }, { area, number }, change);
const edit = (at: number, number: number, turn: number, change: Change<'edit'> = {}) =>
  operation('edit', at, { number, text: `text ${number}, edit ${turn}` }, { area, number }, change);
const read = (at: number, shown: Item[], change: Change<'read'> = {}) =>
  operation('read', at, { limit: 100 }, { items: shown }, change);
const unread = (at: number, offered: Item[], change: Change<'unread'> = {}) =>
  operation('unread', at, {}, { items: offered, leaseMs: 100, held: 0, heldMs: 0 }, change);
const mark = (at: number, numbers: number[], change: Change<'mark'> = {}) =>
  operation('mark', at, { numbers }, { marked: numbers.length }, change);
const login = (user: string, session: string) => operation('login', -9, {}, { token: session }, { user, session: '', area: '' });
const logout = (at: number) => operation('logout', at, {}, {}, { area: '' });
const areas = (at: number, subscribed: boolean) =>
  operation(
    'areas',
    at,
    {},
    {
      areas: [
        { area, subscribed },
        { area: 'chess', subscribed: false },
      ],
    },
    { area: '' },
  );

/** It may be done at any time. */
const unknown = { outcome: { is: 'unknown' }, completedMs: Infinity } as const;
const refused = { outcome: { is: 'refused', code: 'not-subscribed' } } as const;

/** Both users have a session, and are perhaps subscribed, unless it is said when they are. */
function history(operations: Operation[], final: Item[] = [], rest: Partial<History> = {}): History {
  const assigned = [{ area, node, fromMs: 0, toMs: Infinity }];
  const begun = [bo, { user: 'ana', session: 's1' }].flatMap((who) => {
    const says = operations.some(({ kind, user }) => kind === 'subscribe' && user === who.user);
    return [login(who.user, who.session), ...(says ? [] : [subscribe(-8, { ...who, ...unknown })])];
  });
  return { operations: [...begun, ...operations], final: new Map([[area, final]]), watched: [], assigned, ...rest };
}
const found = (...given: Parameters<typeof history>): string => violations(history(...given)).join('; ');

/** Of a user who is not the author. */
const bo = { user: 'bo', session: 's2' } as const;
const watch = (after: number, shown: Item[], through = Infinity, changes: Told[] = [], fromMs = Infinity) => ({
  watched: [{ user: 'bo', area, after, items: shown, through, changes, fromMs }],
});

describe('a post', () => {
  it('that was acknowledged is there once, as it was posted', () => {
    expect(found([post(1, 1)], items(1))).toBe('');
    expect(found([post(1, 1)], [])).toBe('the post "text 1" of ana in sports was acknowledged as 1, and is not there');
    expect(found([post(1, 1)], [item(1), item(2, 'ana', 'text 1')])).toMatch('is there 2 times');
    expect(found([post(1, 1)], [item(1, 'bo')])).toMatch("another author's");
    expect(found([post(1, 1)], [item(2, 'ana', 'text 1')])).toMatch('has another number');
    expect(found([post(1, 1)], [item(1, 'ana', 'text 1!')])).toMatch('is not there; sports/1 was posted by nobody');
  });

  it('may be gone when it was deleted, or perhaps was', () => {
    expect(found([post(1, 1), remove(2, 1)], [])).toBe('');
    expect(found([post(1, 1), remove(2, 1, unknown)], [])).toBe('');
    expect(found([post(1, 1), remove(2, 1, unknown)], items(1))).toBe('');
    expect(found([post(1, 1), remove(2, 1, refused)], [])).toMatch('is not there');
    expect(found([post(1, 1), remove(2, 2)], [])).toMatch('is not there');
  });

  it('without an answer is there once or not at all, and a refused one is not', () => {
    expect(found([post(1, 1, unknown)], [])).toBe('');
    expect(found([post(1, 1, unknown)], items(1))).toBe('');
    expect(found([post(1, 1, unknown)], [item(1), item(2, 'ana', 'text 1')])).toMatch('is there 2 times');
    expect(found([post(1, 1, refused)], [])).toBe('');
    expect(found([post(1, 1, refused)], items(1))).toMatch('was refused, and is there');
  });

  it('is the same for all who see it', () => {
    expect(found([post(1, 1), read(2, items(1))], items(1))).toBe('');
    expect(found([post(1, 1), read(2, [item(1, 'bo')])], items(1))).toMatch('sports/1 is once "bo: text 1", once "ana: text 1"');
  });

  it('has a higher number than what was acknowledged before it began', () => {
    expect(found([post(1, 1), post(2, 2)], items(1, 2))).toBe('');
    expect(found([post(1, 2), post(2, 1)], items(1, 2))).toBe('sports/1 was posted after sports/2');
    expect(found([post(1, 2, { completedMs: 22 }), post(2, 1)], items(1, 2))).toBe('');
  });
});

describe('an edited item', () => {
  const posted = [post(1, 1)];
  const shown = (turn: number, number = 1): Item[] => [item(number, 'ana', `text ${number}, edit ${turn}`)];

  it('is shown with that text to whoever asks after the acknowledgement', () => {
    expect(found([...posted, edit(2, 1, 1), read(3, shown(1), bo)], shown(1))).toBe('');
    const stale = 'sports/1 was shown as "text 1" after it was made "text 1, edit 1"';
    expect(found([...posted, edit(2, 1, 1), read(3, items(1), bo)], shown(1))).toBe(stale);
    expect(found([...posted, edit(2, 1, 1), unread(3, items(1), bo)], shown(1))).toBe(stale);
    expect(found([...posted, edit(2, 1, 1)], items(1))).toBe(stale);
    expect(found([...posted, edit(2, 1, 1, { completedMs: 32 }), read(3, items(1), bo)], shown(1))).toBe('');
  });

  it('is not made what it was before another edit', () => {
    const twice = [...posted, edit(2, 1, 1), edit(3, 1, 2)];
    expect(found([...twice, read(4, shown(2), bo)], shown(2))).toBe('');
    expect(found([...twice, read(4, shown(1), bo)], shown(2))).toMatch('"text 1, edit 1" after it was made "text 1, edit 2"');
    expect(found(twice, shown(1))).toMatch('"text 1, edit 1" after it was made "text 1, edit 2"');
    const together = [...posted, edit(2, 1, 1, { completedMs: 32 }), edit(3, 1, 2)];
    expect(found(together, shown(1))).toBe('');
    expect(found([...posted, edit(2, 1, 1, unknown), edit(3, 1, 2)], shown(1))).toBe('');
  });

  it('is shown with no text that nobody has written', () => {
    expect(found(posted, shown(1))).toMatch('"text 1, edit 1", which nobody had made of it');
    expect(found([...posted, edit(2, 1, 1, refused)], shown(1))).toMatch('which nobody had made of it');
    expect(found([...posted, read(2, shown(1), bo), edit(3, 1, 1)], shown(1))).toMatch('which nobody had made of it');
    expect(found([...posted, edit(2, 1, 1, unknown)], shown(1))).toBe('');
    expect(found([...posted, edit(2, 1, 1, unknown)], items(1))).toBe('');
  });

  it("is the author's", () => {
    expect(found([...posted, edit(2, 1, 1, bo)], shown(1))).toMatch("bo edited sports/1, which is another's");
  });

  it('is told to whoever watches, and so is a deletion', () => {
    const told = (turn: number, change: number): Told => ({ ...shown(turn)[0]!, change });
    const twice = [...posted, edit(2, 1, 1), edit(3, 1, 2)];
    const watched = (changes: Told[], operations = twice, final = shown(2), through = Infinity, fromMs = 0): string =>
      found(operations, final, watch(0, final, through, changes, fromMs));
    expect(watched([told(1, 1), told(2, 2)])).toBe('');
    expect(watched([told(2, 1), told(2, 2)])).toBe('');
    expect(watched([told(1, 1)])).toBe("bo's watch of sports after 0 was not told the edit of 1");
    expect(watched([told(1, 1)], twice, shown(2), 1)).toBe('');
    expect(watched([], twice, shown(2), Infinity, 40)).toBe('');
    expect(watched([told(2, 2), told(2, 2)])).toMatch('had a repeat, or the wrong order of changes: 2, 2');
    const deleted = [...twice, remove(4, 1)];
    expect(watched([{ number: 1, deleted: true, change: 1 }], deleted, [])).toBe('');
    expect(watched([told(2, 1)], deleted, [])).toMatch('was not told the delete of 1');
  });
});

describe('a deleted item', () => {
  it('is shown to nobody who asks after the acknowledgement', () => {
    const posted = [subscribe(0, bo), post(1, 1)];
    expect(found([...posted, remove(2, 1), read(3, [])], [])).toBe('');
    expect(found([...posted, remove(2, 1), read(3, items(1), bo)], [])).toBe('bo saw sports/1 after it was deleted');
    expect(found([...posted, remove(2, 1), unread(3, items(1), bo)], [])).toBe('bo saw sports/1 after it was deleted');
    expect(found([...posted, remove(2, 1, { completedMs: 32 }), read(3, items(1), bo)], [])).toBe('');
    expect(found([...posted, remove(2, 1, unknown), read(3, items(1), bo)], [])).toBe('');
    expect(found([...posted, remove(2, 1)], items(1))).toMatch('was deleted, and is there in the end');
  });

  it("is the author's", () => {
    expect(found([post(1, 1), remove(2, 1, bo)], [])).toBe("bo deleted sports/1, which is another's");
  });
});

describe('what is unread', () => {
  const posted = [subscribe(0), post(1, 1)];

  it('is not offered after it was marked', () => {
    expect(found([...posted, unread(2, items(1)), mark(3, [1]), unread(90, [])], items(1))).toBe('');
    expect(found([...posted, unread(2, items(1)), mark(3, [1]), unread(90, items(1))], items(1))).toBe(
      'ana marked sports/1, and was offered it again',
    );
    expect(found([...posted, unread(2, items(1)), mark(3, [1], unknown), unread(90, items(1))], items(1))).toBe('');
    expect(found([...posted, subscribe(1, bo), unread(2, items(1)), mark(3, [1]), unread(90, items(1), bo)], items(1))).toBe('');
  });

  it('is offered to one of two readers while the lease lasts', () => {
    expect(found([...posted, unread(2, items(1)), unread(13, items(1))], items(1))).toBe('');
    expect(found([...posted, unread(2, items(1)), unread(11, items(1))], items(1))).toBe(
      'ana was offered sports/1 twice within one lease',
    );
    // It may have been offered when the second had just begun, a lease after the first.
    expect(found([...posted, unread(2, items(1)), unread(3, items(1), { completedMs: 121 })], items(1))).toBe('');
    expect(found([...posted, unread(2, items(1), unknown), unread(3, items(1))], items(1))).toBe('');
    expect(found([...posted, subscribe(0, bo), unread(2, items(1)), unread(3, items(1), bo)], items(1))).toBe('');
  });

  it('is offered in the end to whoever was subscribed', () => {
    expect(found([...posted, unread(2, items(1))], items(1))).toBe('');
    expect(found([...posted, unread(2, [])], items(1))).toBe('ana was never offered sports/1');
    expect(found([...posted, unread(2, items(1), unknown)], items(1))).toBe('ana was never offered sports/1');
    expect(found([...posted, remove(2, 1, unknown)], [])).toBe('');
    expect(found([subscribe(1), post(1, 1)], items(1))).toBe('');
  });

  it('is forgotten with the subscription', () => {
    expect(found([...posted, unsubscribe(2), subscribe(3)], items(1))).toBe('');
    expect(found([...posted, unsubscribe(2, unknown)], items(1))).toBe('');
    expect(found([...posted, unsubscribe(2, refused)], items(1))).toBe('ana was never offered sports/1');
    expect(found([subscribe(0), unsubscribe(1), subscribe(2), post(3, 1)], items(1))).toBe('ana was never offered sports/1');
    expect(found([subscribe(0), unsubscribe(1, unknown), subscribe(2), post(3, 1)], items(1))).toBe('');
  });

  it('begins with the subscription', () => {
    const before = 'ana was offered sports/1, from before the subscription';
    const [of, byBo] = [(endMs: number) => post(1, 1, { ...bo, completedMs: endMs }), [item(1, 'bo')]];
    expect(found([of(15), subscribe(2), unread(3, byBo)], byBo)).toBe(before);
    expect(found([of(21), subscribe(2), unread(3, byBo)], byBo)).toBe('');
    expect(found([...posted, unsubscribe(2), subscribe(3), unread(4, items(1))], items(1))).toBe(before);
    expect(found([...posted, unsubscribe(2, unknown), unread(4, items(1))], items(1))).toBe('');
    expect(found([subscribe(0, unknown), post(1, 1), unread(4, items(1))], items(1))).toBe('');
  });
});

describe('a read', () => {
  const posts = [post(1, 1), post(2, 2), post(3, 3, { completedMs: 100 })];

  it('shows all that was acknowledged or shown before it', () => {
    expect(found([...posts, read(4, items(1, 2))], items(1, 2, 3))).toBe('');
    expect(found([...posts, read(4, items(1, 2, 3))], items(1, 2, 3))).toBe('');
    expect(found([...posts, read(4, items(2))], items(1, 2, 3))).toBe('ana was not shown sports/1, which was there');
    expect(found([...posts, read(4, items(1, 2, 3)), read(5, items(1, 2))], items(1, 2, 3))).toBe(
      'ana was not shown sports/3, which was there',
    );
    expect(found([...posts, remove(5, 1), read(5, items(2))], items(2, 3))).toBe('');
    expect(found([...posts, read(4, items(2), { asked: { limit: 1 } })], items(1, 2, 3))).toBe('');
  });

  it('shows nothing below what an earlier one showed that had passed it over', () => {
    const [first, second, third] = [post(1, 1), post(2, 2, { completedMs: 100 }), post(3, 3)];
    const late = found([first, second, third, read(4, items(1, 3)), read(5, items(1, 2, 3))], items(1, 2, 3));
    expect(late).toBe('sports/2 appeared below what was shown before');
    expect(found([first, second, third, read(4, items(1, 3)), read(4, items(1, 2, 3))], items(1, 2, 3))).toBe('');
  });

  it('shows items in the order of their numbers', () => {
    expect(found([...posts, read(4, items(2, 1))], items(1, 2, 3))).toBe('ana was shown sports out of order: 2, 1');
    expect(found([...posts, read(4, items(1, 1, 2))], items(1, 2, 3))).toBe('ana was shown sports out of order: 1, 1, 2');
  });
});

describe('a session', () => {
  const wrong = 'not linearizable on "s1"';

  it('does nothing any more when it was closed', () => {
    expect(found([logout(1), post(2, 1, { session: 's2' })], items(1))).toBe('');
    expect(found([logout(1), post(2, 1)], items(1))).toMatch(wrong);
    expect(found([logout(1), post(1, 1)], items(1))).toBe('');
    expect(found([logout(1), post(2, 1, refused)], [])).toBe('');
    expect(found([logout(1), logout(2)])).toBe('');
  });

  it('is refused when it was closed, and not before', () => {
    const over = { outcome: { is: 'refused', code: 'unauthenticated' } } as const;
    expect(found([logout(1), post(2, 1, over)])).toBe('');
    expect(found([post(1, 1, over)])).toMatch(wrong);
    expect(found([post(1, 1, over), logout(2)])).toMatch(wrong);
  });
});

describe('a subscription', () => {
  const wrong = 'not linearizable on "areas of ana"';

  it('is there from its answer on, until its end', () => {
    expect(found([subscribe(1), areas(2, true), unsubscribe(3), areas(4, false), read(5, [], refused)])).toBe('');
    expect(found([subscribe(1), areas(2, false)])).toMatch(wrong);
    expect(found([subscribe(1), read(2, [], refused)])).toMatch(wrong);
    expect(found([read(1, []), subscribe(2)])).toMatch(wrong);
    expect(found([subscribe(1), unsubscribe(2), read(3, [])])).toMatch(wrong);
    expect(found([subscribe(1), unsubscribe(2, unknown), areas(3, true), areas(4, false)])).toBe('');
    expect(found([subscribe(1), unsubscribe(2, unknown), areas(3, false), areas(4, true)])).toMatch(wrong);
  });

  it('begins once, and says so unless it may be a repeat', () => {
    const again = (changed: boolean) => subscribe(2, { outcome: { is: 'ok', result: { area, changed }, node } });
    expect(found([subscribe(1), again(false)])).toBe('');
    expect(found([subscribe(1), again(true)])).toMatch(wrong);
  });
});

describe('a watch', () => {
  const posts = [post(1, 1), post(2, 2), post(3, 3)];

  it('has everything after its first number, once and in order', () => {
    expect(found(posts, items(1, 2, 3), watch(1, items(2, 3)))).toBe('');
    expect(found(posts, items(1, 2, 3), watch(1, items(3)))).toBe("bo's watch of sports after 1 missed 2");
    expect(found(posts, items(1, 2, 3), watch(1, items(3, 2)))).toMatch('had a repeat, or the wrong order: 3, 2');
    expect(found(posts, items(1, 2, 3), watch(1, items(2, 2, 3)))).toMatch('had a repeat');
    expect(found(posts, items(1, 2, 3), watch(1, items(1, 2, 3)))).toMatch('had 1');
    expect(found(posts, items(1, 2, 3), watch(3, items(4)))).toMatch('had 4, which nobody posted');
  });

  it('needs nothing that was deleted, nor what came after its end', () => {
    expect(found([...posts, remove(4, 2)], items(1, 3), watch(1, items(3)))).toBe('');
    expect(found([...posts, remove(4, 2)], items(1, 3), watch(1, items(2, 3)))).toBe('');
    expect(found(posts, items(1, 2, 3), watch(1, items(2), 2))).toBe('');
  });
});

describe('a request', () => {
  it('is done by a node that serves its area meanwhile', () => {
    const served = (fromMs: number, toMs: number, address = node) => ({ assigned: [{ area, node: address, fromMs, toMs }] });
    const stray = 'a post of sports was done by n1:9000, which did not serve it';
    expect(found([post(1, 1)], items(1), served(14, Infinity))).toBe('');
    expect(found([post(1, 1)], items(1), served(0, 11))).toBe('');
    expect(found([post(1, 1)], items(1), served(16, Infinity))).toBe(stray);
    expect(found([post(1, 1)], items(1), served(0, 9))).toBe(stray);
    expect(found([post(1, 1)], items(1), served(0, Infinity, 'n2:9000'))).toBe(stray);
    expect(found([post(1, 1, refused)], [], served(0, 9))).toBe('');
  });

  it('meets no fault of the program', () => {
    expect(found([post(1, 1, { outcome: { is: 'refused', code: 'internal' } })])).toBe(
      'a post of ana in sports was answered internal',
    );
  });
});

it('the longest wait is that for an answer', () => {
  const operations = [post(1, 1), read(2, items(1), { completedMs: 70 }), unread(3, [], unknown)];
  expect(longestWait({ operations })).toEqual({ waitedMs: 50, kind: 'read' });
  expect(longestWait({ operations: [] }).waitedMs).toBe(0);
});
