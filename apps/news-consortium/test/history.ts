/**
 * What clients asked for and saw, and whether that keeps the system's promises: each rule is checked against the history alone, as in Jepsen and Maelstrom
 * (github.com/jepsen-io/maelstrom). Of whatever overlaps in time either order is allowed, and what was not answered may have been done or not.
 *
 * All times are milliseconds of one clock.
 */
import { byKey, check, explain, set, type Operation as SetOperation, type SetInput } from '@lab/checker';
import type { Change, Item, Replies } from '../src/messages.ts';
import type { RefusalCode } from '../src/wire/refusal.ts';

/** What the operations are asked; the area stands beside it. */
interface Asked {
  login: object;
  logout: object;
  subscribe: object;
  unsubscribe: object;
  /** Of all areas, whether the user is subscribed. */
  areas: object;
  /** No two posts of a history have the same text. */
  post: { text: string };
  /** Of `post 7` to `post 7, edit 3`: no two edits of a history have the same text. */
  edit: { number: number; text: string };
  delete: { number: number };
  /** The newest items. */
  read: { limit: number };
  unread: object;
  mark: { numbers: readonly number[] };
}
export type RecordedKind = keyof Asked;

export type Outcome<K extends RecordedKind> =
  /** `node` is the address of the one that answered; undefined where an agent did. */
  | { readonly is: 'ok'; readonly result: Replies[K]; readonly node?: string | undefined }
  /** It was not done. */
  | { readonly is: 'refused'; readonly code: RefusalCode }
  /** Nobody answered, or not to every try: it may have been done. */
  | { readonly is: 'unknown' };

interface OperationOf<K extends RecordedKind> {
  readonly kind: K;
  readonly user: string;
  /** A name of the session: different ones for different sessions. */
  readonly session: string;
  /** Empty where the operation has none. */
  readonly area: string;
  readonly asked: Asked[K];
  readonly invokedMs: number;
  /** Infinity where the outcome is unknown: it may be done at any time. */
  readonly completedMs: number;
  readonly outcome: Outcome<K>;
}
export type Operation<K extends RecordedKind = RecordedKind> = K extends RecordedKind ? OperationOf<K> : never;

/** What one watch brought, over all its connections. */
export interface Watched {
  readonly user: string;
  readonly area: string;
  /** The number from which on it watched. */
  readonly after: number;
  /** In the order in which they came. */
  readonly items: readonly Item[];
  /** The same of what was edited and deleted. */
  readonly changes: readonly Change[];
  /** It has watched since. */
  readonly fromMs: number;
  /** It must have had everything up to this number, and all changes where it is Infinity. */
  readonly through: number;
}

/** A node serves an area. */
export interface Assigned {
  readonly area: string;
  /** Its address. */
  readonly node: string;
  readonly fromMs: number;
  /** Infinity when it still does. */
  readonly toMs: number;
}

export interface History {
  readonly operations: readonly Operation[];
  /** All news of each area in the end, after all operations. */
  readonly final: ReadonlyMap<string, readonly Item[]>;
  readonly watched: readonly Watched[];
  readonly assigned: readonly Assigned[];
}

/** What broke a promise, in words; empty where none was broken. */
export const violations = (history: History): string[] => judged(history).flatMap(({ broken }) => broken);

/** The same for each promise, and how many cases of it there were. */
export function judged(history: History): { broken: string[]; cases: number }[] {
  const view = new View(history);
  return promises.map(({ rules, count }) => ({ broken: rules.flatMap((rule) => [...rule(view)]), cases: count(view) }));
}

/** The longest that anybody waited for an answer that came. */
export function longestWait({ operations }: Pick<History, 'operations'>): { waitedMs: number; kind: RecordedKind | undefined } {
  const waits = operations
    .filter(({ outcome }) => outcome.is !== 'unknown')
    .map(({ kind, invokedMs, completedMs }) => ({ kind, waitedMs: completedMs - invokedMs }));
  return waits.toSorted((one, other) => other.waitedMs - one.waitedMs)[0] ?? { kind: undefined, waitedMs: 0 };
}

/** An operation that was answered, and what it was answered. */
type Done<K extends RecordedKind> = OperationOf<K> & { readonly result: Replies[K]; readonly node: string | undefined };

/** The history by the questions that the rules ask. */
class View {
  readonly history: History;
  /** The rules ask the same again and again. */
  readonly #answers = new Map<string, readonly unknown[]>();
  constructor(history: History) {
    this.history = history;
  }

  all<K extends RecordedKind>(kind: K, area?: string): OperationOf<K>[] {
    return this.#once(`all ${kind} ${area}`, () =>
      this.history.operations.filter((each) => each.kind === kind && (area ?? each.area) === each.area),
    ) as OperationOf<K>[];
  }

  done<K extends RecordedKind>(kind: K, area?: string): Done<K>[] {
    return this.#once(`done ${kind} ${area}`, () =>
      this.all(kind, area).flatMap((each) =>
        each.outcome.is === 'ok' ? [{ ...each, result: each.outcome.result, node: each.outcome.node }] : [],
      ),
    ) as Done<K>[];
  }

  /** Answered with ok, or not answered. */
  perhapsDone<K extends RecordedKind>(kind: K, area?: string): OperationOf<K>[] {
    return this.#once(`perhaps ${kind} ${area}`, () =>
      this.all(kind, area).filter(({ outcome }) => outcome.is !== 'refused'),
    ) as OperationOf<K>[];
  }

  final(area: string): readonly Item[] {
    return this.history.final.get(area) ?? [];
  }

  /** Whether the item may have been deleted before then. */
  perhapsDeleted(area: string, number: number, beforeMs = Infinity): boolean {
    return this.perhapsDone('delete', area).some((each) => each.asked.number === number && each.invokedMs < beforeMs);
  }

  #once(question: string, answer: () => readonly unknown[]): readonly unknown[] {
    const known = this.#answers.get(question) ?? answer();
    this.#answers.set(question, known);
    return known;
  }

  /** Requests for unread items, and their answers, of one user in one area. */
  offers({ user, area }: { user: string; area: string }): Done<'unread'>[] {
    return this.done('unread', area).filter((each) => each.user === user);
  }
}

/** The text of the post that an item began as. */
const postOf = (text: string): string => text.replace(/, edit \d+$/, '');

/** What was acknowledged to have been edited or deleted while it was watched, and was not told, nor anything that came later. */
export function untold(
  operations: readonly Operation[],
  { area, fromMs, changes }: Pick<Watched, 'area' | 'fromMs' | 'changes'>,
): Operation<'edit' | 'delete'>[] {
  const view = new View({ operations, final: new Map(), watched: [], assigned: [] });
  const isTold = (number: number, edit?: Done<'edit'>): boolean =>
    changes.some(
      (told) => told.number === number && ('deleted' in told || (edit !== undefined && !isOlder(view, area, told, edit))),
    );
  return [
    ...view.done('edit', area).filter((edit) => edit.invokedMs > fromMs && !isTold(edit.asked.number, edit)),
    // What is gone already is deleted once more with ok, and nothing happens.
    ...view
      .done('delete', area)
      .filter(({ asked }) => !view.perhapsDeleted(area, asked.number, fromMs + 1) && !isTold(asked.number)),
  ];
}

/** The item's text was written before the edit began. */
function isOlder(view: View, area: string, { number, text }: Pick<Item, 'number' | 'text'>, edit: OperationOf<'edit'>): boolean {
  if (text === edit.asked.text) return false;
  const wrote = view.perhapsDone('edit', area).find(({ asked }) => asked.number === number && asked.text === text);
  return wrote === undefined || before(wrote, edit);
}

const has = (items: readonly Item[], number: number): boolean => items.some((item) => item.number === number);
/** The one was over before the other began. */
const before = (one: { completedMs: number }, other: { invokedMs: number }): boolean => one.completedMs < other.invokedMs;

type Rule = (view: View) => Iterable<string>;

/** Every post that was acknowledged is there, once, as it was posted; one that was refused is not; one without an answer is there at most once. */
function* keepsPosts(view: View): Iterable<string> {
  const everywhere = [...view.history.final].flatMap(([area, items]) => items.map((item) => ({ area, ...item })));
  for (const { user, area, asked, outcome } of view.all('post')) {
    const found = everywhere.filter(({ text }) => postOf(text) === asked.text);
    const what = `the post ${quoted(asked.text)} of ${user} in ${area}`;
    if (found.length > 1) yield `${what} is there ${found.length} times`;
    if (found.some((item) => item.area !== area || item.author !== user)) yield `${what} is elsewhere, or another author's`;
    if (outcome.is === 'refused' && found.length > 0) yield `${what} was refused, and is there`;
    if (outcome.is !== 'ok') continue;
    const { number } = outcome.result;
    if (found.length === 0 && !view.perhapsDeleted(area, number)) yield `${what} was acknowledged as ${number}, and is not there`;
    if (found.some((item) => item.number !== number)) yield `${what} was acknowledged as ${number}, and has another number`;
  }
  const posted = new Set(view.perhapsDone('post').map(({ asked }) => asked.text));
  for (const { area, number, text } of everywhere) if (!posted.has(postOf(text))) yield `${area}/${number} was posted by nobody`;
}

/** An item is the same for whoever sees it, at any time, but for what its author has made of its text. */
function* showsTheSameToAll(view: View): Iterable<string> {
  const seen = new Map<string, string>();
  const shown = [
    ...[...view.done('read'), ...view.done('unread')].map(({ area, result }) => ({ area, items: result.items })),
    ...view.history.watched,
    ...[...view.history.final].map(([area, items]) => ({ area, items })),
  ];
  for (const { area, items } of shown)
    for (const { number, author, text } of items) {
      const post = `${author}: ${postOf(text)}`;
      const first = seen.get(`${area}/${number}`) ?? post;
      seen.set(`${area}/${number}`, first);
      if (first !== post) yield `${area}/${number} is once ${quoted(first)}, once ${quoted(post)}`;
    }
}

/** Whoever asks after an edit was acknowledged sees its text, or one that was not there before it began; and nobody edits what is another's. */
function* keepsEdits(view: View): Iterable<string> {
  for (const { user, area, asked } of view.done('edit'))
    if (view.done('post', area).some((post) => post.result.number === asked.number && post.user !== user))
      yield `${user} edited ${area}/${asked.number}, which is another's`;
  const asked = [...view.done('read'), ...view.done('unread')].map((each) => ({ ...each, items: each.result.items }));
  const watched = view.history.watched.map(({ area, items, changes }) => {
    const told = changes.flatMap((change) => ('text' in change ? [change] : []));
    return { area, items: [...items, ...told], invokedMs: -Infinity, completedMs: Infinity };
  });
  const editsOf = Map.groupBy(view.perhapsDone('edit'), (edit) => `${edit.area}/${edit.asked.number}`);
  const final = [...view.history.final].map(([area, items]) => ({ area, items, invokedMs: Infinity, completedMs: Infinity }));
  for (const { area, items, invokedMs, completedMs } of [...asked, ...watched, ...final])
    for (const item of items) {
      const what = `${area}/${item.number} was shown as ${quoted(item.text)}`;
      const edits = editsOf.get(`${area}/${item.number}`) ?? [];
      const isWritten = edits.some((edit) => edit.asked.text === item.text && edit.invokedMs <= completedMs);
      if (postOf(item.text) !== item.text && !isWritten) yield `${what}, which nobody had made of it`;
      for (const edit of edits)
        if (edit.completedMs < invokedMs && isOlder(view, area, item, edit))
          yield `${what} after it was made ${quoted(edit.asked.text)}`;
    }
}

/** What is deleted nobody sees who asks after the acknowledgement, and nobody deletes what is another's. */
function* keepsDeleted(view: View): Iterable<string> {
  for (const deletion of view.done('delete')) {
    const { user, area, asked } = deletion;
    const item = `${area}/${asked.number}`;
    const posts = view.done('post', area).filter(({ result }) => result.number === asked.number);
    if (posts.some((post) => post.user !== user)) yield `${user} deleted ${item}, which is another's`;
    for (const kind of ['read', 'unread'] as const)
      for (const later of view.done(kind, area))
        if (before(deletion, later) && has(later.result.items, asked.number))
          yield `${later.user} saw ${item} after it was deleted`;
    if (has(view.final(area), asked.number)) yield `${item} was deleted, and is there in the end`;
  }
}

/** What was marked is never offered again. */
function* offersNothingMarked(view: View): Iterable<string> {
  for (const mark of view.done('mark'))
    for (const offer of view.offers(mark))
      for (const number of mark.asked.numbers)
        if (before(mark, offer) && has(offer.result.items, number))
          yield `${mark.user} marked ${mark.area}/${number}, and was offered it again`;
}

/** Two readers of one user do not both get an item while the lease of one of them lasts. */
function* leases(view: View): Iterable<string> {
  const offers = view.done('unread');
  for (const [index, one] of offers.entries())
    for (const other of offers.slice(index + 1)) {
      if (one.user !== other.user || one.area !== other.area) continue;
      // Wherever between their invocations and completions the two were made, the lease of the earlier one had not ended.
      const { leaseMs } = one.result;
      const overlap = other.completedMs < one.invokedMs + leaseMs && one.completedMs < other.invokedMs + leaseMs;
      for (const { number } of overlap ? one.result.items : [])
        if (has(other.result.items, number)) yield `${one.user} was offered ${one.area}/${number} twice within one lease`;
    }
}

/** Whoever is subscribed when an item is posted, and stays so, is offered it sooner or later. */
function* offersAll(view: View): Iterable<string> {
  const users = new Set(view.done('subscribe').map(({ user }) => user));
  for (const post of view.done('post'))
    for (const user of users) {
      const { area } = post;
      const ends = view.perhapsDone('unsubscribe', area).filter((each) => each.user === user);
      const stays = view
        .done('subscribe', area)
        .some((each) => each.user === user && before(each, post) && ends.every((end) => before(end, each)));
      const { number } = post.result;
      if (!stays || view.perhapsDeleted(area, number)) continue;
      const offered = view.offers({ user, area }).some(({ result }) => has(result.items, number));
      if (!offered) yield `${user} was never offered ${area}/${number}`;
    }
}

/** Nobody is offered anything without a subscription, or from before it. */
function* offersNothingFromBefore(view: View): Iterable<string> {
  for (const offer of view.done('unread')) {
    const { user, area } = offer;
    const ends = view.done('unsubscribe', area).filter((each) => each.user === user && before(each, offer));
    const begins = view
      .perhapsDone('subscribe', area)
      .filter((each) => each.user === user && each.invokedMs < offer.completedMs)
      .filter((each) => !ends.some((end) => before(each, end)));
    for (const { number } of offer.result.items) {
      const post = view.done('post', area).find(({ result }) => result.number === number);
      if (!begins.some((begin) => post === undefined || !before(post, begin)))
        yield `${user} was offered ${area}/${number}, from before the subscription`;
    }
  }
}

/** Numbers of an area grow with time. */
function* numbersGrow(view: View): Iterable<string> {
  const posts = view.done('post');
  for (const one of posts)
    for (const other of posts)
      if (one.area === other.area && before(one, other) && one.result.number >= other.result.number)
        yield `${one.area}/${other.result.number} was posted after ${one.area}/${one.result.number}`;
}

/** A read shows, in order, whatever was acknowledged or shown before it, and no later one shows what it passed over. */
function* readsGrow(view: View): Iterable<string> {
  const reads = view.done('read');
  for (const { area, user, result } of [...reads, ...view.done('unread')])
    if (!ascends(result.items)) yield `${user} was shown ${area} out of order: ${numbersOf(result.items)}`;
  for (const read of reads) {
    const { area, completedMs, result } = read;
    const earlier = reads.filter((each) => each.area === area && before(each, read));
    const shown = earlier.flatMap((each) => each.result.items.map(({ number }) => number));
    const posted = view.done('post', area).filter((each) => before(each, read));
    for (const number of new Set([...shown, ...posted.map((post) => post.result.number)]))
      if (number >= firstOf(read) && !has(result.items, number) && !view.perhapsDeleted(area, number, completedMs))
        yield `${read.user} was not shown ${area}/${number}, which was there`;
    for (const each of earlier)
      for (const { number } of result.items)
        if (!has(each.result.items, number) && number >= firstOf(each) && number < (each.result.items.at(-1)?.number ?? 0))
          yield `${area}/${number} appeared below what was shown before`;
  }
}

/**
 * Sessions that are open and areas that a user is subscribed to are sets: whoever opens, closes, subscribes or unsubscribes changes one at one moment
 * between question and answer, and whoever needs to be in it, is refused for not being in it or asks for a list saw it so at another one.
 */
function* keepsSets(view: View): Iterable<string> {
  const verdict = check(byKey(set), view.history.operations.flatMap(setOperations));
  if (verdict.result !== 'linearizable') yield explain(verdict);
}

type SetOutput = boolean | readonly string[] | undefined;

function setOperations(operation: Operation): SetOperation<SetInput & { key: string }, SetOutput>[] {
  const { user, session, area, outcome, invokedMs: calledMs, completedMs: ms } = operation;
  const areas = `areas of ${user}`;
  const on = (key: string, input: SetInput, output?: SetOutput): ReturnType<typeof setOperations> => {
    const answer = outcome.is === 'unknown' ? undefined : { answer: { output, ms } };
    return [{ client: user, input: { ...input, key }, calledMs, ...answer }];
  };
  const needs = (key: string, element: string, code: RefusalCode): ReturnType<typeof setOperations> => {
    const isIn = outcome.is === 'ok' || (outcome.is === 'refused' && outcome.code === code ? false : undefined);
    return isIn === undefined ? [] : on(key, { op: 'has', element }, isIn);
  };
  const open = needs(session, 'session', 'unauthenticated');
  switch (operation.kind) {
    case 'login':
      return operation.outcome.is === 'ok' ? on(operation.outcome.result.token, { op: 'add', element: 'session' }) : [];
    case 'logout':
      return outcome.is === 'refused' ? [] : on(session, { op: 'remove', element: 'session' });
    case 'subscribe':
    case 'unsubscribe': {
      if (outcome.is === 'refused') return open;
      // An answer of "nothing has changed" may be that to the repeat of a request which has changed it.
      const changed = (operation.outcome.is === 'ok' && operation.outcome.result.changed) || undefined;
      return [...open, ...on(areas, { op: operation.kind === 'subscribe' ? 'add' : 'remove', element: area }, changed)];
    }
    case 'areas': {
      if (operation.outcome.is !== 'ok') return open;
      const subscribed = operation.outcome.result.areas.filter((each) => each.subscribed).map((each) => each.area);
      return [...open, ...on(areas, { op: 'list' }, subscribed)];
    }
    case 'edit':
    case 'delete':
      return open;
    case 'post':
    case 'read':
    case 'unread':
    case 'mark':
      return [...open, ...needs(areas, area, 'not-subscribed')];
  }
}

/** A watch has everything, once and in order, from where it began to where it ended. */
function* watchesMissNothing(view: View): Iterable<string> {
  for (const watched of view.history.watched) {
    const { user, area, after, items, changes, through } = watched;
    const what = `${user}'s watch of ${area} after ${after}`;
    if (!ascends(items)) yield `${what} had a repeat, or the wrong order: ${numbersOf(items)}`;
    for (const { number } of items) if (number <= after) yield `${what} had ${number}`;
    for (const { number } of view.final(area))
      if (number > after && number <= through && !has(items, number)) yield `${what} missed ${number}`;
    const posted = new Set(view.perhapsDone('post', area).map(({ asked }) => asked.text));
    for (const { number, text } of items) if (!posted.has(postOf(text))) yield `${what} had ${number}, which nobody posted`;
    if (!changes.every(({ change }, index) => change > (changes[index - 1]?.change ?? 0)))
      yield `${what} had a repeat, or the wrong order of changes: ${changes.map(({ change }) => change).join(', ')}`;
    for (const { kind, asked } of through === Infinity ? untold(view.history.operations, watched) : [])
      yield `${what} was not told the ${kind} of ${asked.number}`;
  }
}

/** What is asked of an area a node does that serves it at some moment between the question and the answer. */
function* asksTheRightNodes(view: View): Iterable<string> {
  for (const { kind, area, outcome, invokedMs, completedMs } of view.history.operations) {
    if (area === '' || outcome.is !== 'ok') continue;
    const served = view.history.assigned.some(
      (each) => each.area === area && each.node === outcome.node && each.fromMs <= completedMs && each.toMs >= invokedMs,
    );
    if (!served) yield `a ${kind} of ${area} was done by ${outcome.node}, which did not serve it`;
  }
}

/** No request meets a fault of the program, or is taken for no request. */
function* hasNoFaults(view: View): Iterable<string> {
  for (const { kind, user, area, outcome } of view.history.operations)
    if (outcome.is === 'refused' && (outcome.code === 'internal' || outcome.code === 'malformed'))
      yield `a ${kind} of ${user} in ${area} was answered ${outcome.code}`;
}

interface HistoryPromise {
  readonly promise: string;
  /** What is counted. */
  readonly cases: string;
  readonly count: (view: View) => number;
  readonly rules: readonly Rule[];
}

export const promises: readonly HistoryPromise[] = [
  {
    promise: 'a post that was acknowledged is never lost and appears once',
    cases: 'posts are as readers and watchers have seen them',
    count: (view) => view.done('post').length,
    rules: [keepsPosts, showsTheSameToAll, keepsEdits, keepsDeleted, numbersGrow, readsGrow, watchesMissNothing],
  },
  {
    promise: 'an unread item is offered until it is acknowledged, and never to two readers at a time',
    cases: 'offers of unread items',
    count: (view) => view.done('unread').length,
    rules: [offersNothingMarked, leases, offersAll, offersNothingFromBefore],
  },
  {
    promise: 'sessions, subscriptions and assignments are as they were last changed',
    cases: 'operations were done where they may be, or refused where they may not',
    count: (view) => view.history.operations.length,
    rules: [keepsSets, asksTheRightNodes, hasNoFaults],
  },
];

/** The number from which on a read shows all: a full page goes no further than its first item. */
const firstOf = ({ asked, result }: Done<'read'>): number => (result.items.length < asked.limit ? 1 : result.items[0]!.number);
const numbersOf = (items: readonly Item[]): string => items.map(({ number }) => number).join(', ');
const ascends = (items: readonly Item[]): boolean => items.every(({ number }, index) => number > (items[index - 1]?.number ?? 0));
const quoted = (text: string): string => JSON.stringify(text);
