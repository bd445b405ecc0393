import { seededRandom } from '@lab/testing';
import { expect, it } from 'vitest';
import { violations, type Operation } from '../../test/history.ts';

const seen = { is: 'unknown' } as const;
const done = (result: object): object => ({ is: 'ok', result, node: 'n1:9000' });

function operation(kind: string, asked: object, outcome: object, invokedMs: number, rest: object = {}): Operation {
  const completedMs = outcome === seen ? Infinity : invokedMs + 5;
  return { kind, user: 'ana', session: 's1', area: 'sports', asked, invokedMs, completedMs, outcome, ...rest } as Operation;
}

/** Moments are drawn between those of the others. */
type Made = (numbers: number[], ms: number) => Operation[];
const item = (number: number): object => ({ number, author: 'bo', text: `text ${number}`, postedAt: '' });
const offer = (numbers: number[], ms: number, rest: object = {}): Operation =>
  operation('unread', {}, done({ items: numbers.toSorted((a, b) => a - b).map(item), leaseMs: 0, held: 0, heldMs: 0 }), ms, rest);
const lostOffer = (ms: number): Operation => operation('unread', {}, seen, ms);
const mark = (numbers: number[], marked: number, ms: number): Operation => operation('mark', { numbers }, done({ marked }), ms);
const bo = { user: 'bo', session: 's2' };

const right: Record<string, Made> = {
  'all of them were offered': (n, ms) => [offer(n, ms - 20), mark(n, n.length, ms)],
  'those that were offered were marked': (n, ms) => [offer(n.slice(1), ms - 20), mark(n, n.length - 1, ms)],
  'an offer was not answered': (n, ms) => [lostOffer(ms - 20), mark(n, n.length, ms)],
  'the offer overlaps': (n, ms) => [offer(n, ms + 3), mark(n, n.length, ms)],
  'another session was offered them': (n, ms) => [offer(n, ms - 20, { session: 's3' }), mark(n, n.length, ms)],
};
const wrong: Record<string, Made> = {
  'one was not offered': (n, ms) => [offer(n.slice(1), ms - 20), mark(n, n.length, ms)],
  'nothing was offered': (n, ms) => [mark(n, 1, ms)],
  'another user was offered them': (n, ms) => [offer(n, ms - 20, bo), mark(n, n.length, ms)],
  'they were of another area': (n, ms) => [offer(n, ms - 20, { area: 'chess' }), mark(n, n.length, ms)],
  'an offer that was not answered came later': (n, ms) => [lostOffer(ms + 20), mark(n, n.length, ms)],
};

function found(made: Made, seed: number): string[] {
  const random = seededRandom(seed);
  const numbers = random.shuffle([1, 2, 3, 4, 5, 6]).slice(0, random.integer(2, 5));
  const who = [{}, bo, { session: 's3' }];
  const begun = who.flatMap((each) => {
    const { session = 's1' } = each as { session?: string };
    const login = operation('login', {}, done({ token: session }), 0, { ...each, session: '', area: '' });
    return [login, ...['sports', 'chess'].map((area) => operation('subscribe', {}, seen, 10, { ...each, area }))];
  });
  const posts = ['sports', 'chess'].flatMap((area) =>
    numbers.map((number) =>
      operation('post', { text: `text ${number}` }, done({ area, number }), 100 + 10 * number, { ...bo, area }),
    ),
  );
  const chess = made([1, 2], 1_000).some(({ area }) => area === 'chess');
  const shown = posts.filter(({ area }) => area === (chess ? 'chess' : 'sports'));
  const operations = [...begun, ...shown, ...made(numbers, random.integer(300, 900))];
  const final = new Map([[chess ? 'chess' : 'sports', numbers.toSorted((a, b) => a - b).map(item)]]);
  const assigned = ['sports', 'chess'].map((area) => ({ area, node: 'n1:9000', fromMs: 0, toMs: Infinity }));
  return violations({ operations, final, watched: [], assigned } as unknown as Parameters<typeof violations>[0]);
}

it.each(Object.keys(wrong))('it complains where %s', (name) => {
  for (const seed of [1, 2]) expect(found(wrong[name]!, seed)).not.toEqual([]);
});
it.each(Object.keys(right))('it says nothing where %s', (name) => {
  for (const seed of [3, 4]) expect(found(right[name]!, seed)).toEqual([]);
});
