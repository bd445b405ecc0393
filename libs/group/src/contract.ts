/**
 * What every adapter must do, as tests. An adapter's own test is a fixture and a call of `groupContract`; the features that it claims decide what is asked of it.
 *
 * Every member is followed: all that its stream brings is kept, and at checkpoints it saves the list of all messages of the group, so that who reads what differs
 * between two members.
 */
import { createHash } from 'node:crypto';
import { assertLinearizable, counter } from '@lab/checker';
import { eventually } from '@lab/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { counterHistory, type Fates } from './histories.ts';
import {
  IndefiniteError,
  services,
  type Base,
  type Cause,
  type Features,
  type Group,
  type Membership,
  type Message,
  type Service,
  type View,
} from './port.ts';
import { Replica } from './replica.ts';

export interface Fixture {
  /** Of a process of its own. */
  connect(): Promise<Group>;
  /** What a SIGKILL of the process that has it is to all others: it says no word. */
  kill(group: Group): Promise<void>;
  /** Nothing passes between this process and all else from now on. Needed where `primaryPartition` is claimed. */
  cut?: (group: Group) => void;
  heal?: (group: Group) => void;
  /** Where time is the test's own: lets some of it pass, less than a tenth of what makes a silent member a dead one. */
  passTime?: () => Promise<void>;
  stop(): Promise<void>;
}

/** A member that is silent is out within 2 s; one that has lost a broker comes back within 15. */
const timeoutMs = 60_000;

let names = 0;
const run = crypto.randomUUID().slice(0, 5);
/** Groups with a history are there for ever, so every test has one of its own. */
const freshGroup = (): string => `g${run}${(names++).toString(36)}`;

const numbered = (what: string, count: number): string[] => Array.from({ length: count }, (_, number) => `${what}${number}`);
const idsOf = (view: View | undefined): string[] => view?.members.map(({ id }) => id) ?? [];
const namesOf = (view: View | undefined): string => (view?.members.map(({ name }) => name) ?? []).join(' ');

/** A message as one line of the history. */
function lineOf({ sender, service, body }: Message): string {
  const text = body.length <= 64 ? body.toString() : `${body.length} bytes ${createHash('sha256').update(body).digest('hex')}`;
  return `${sender.id} ${service} ${text}`;
}

/** A member, and all that its stream has brought since it last began. */
export class Follower {
  readonly group: Group;
  readonly membership: Membership;
  base: Base | undefined;
  views: View[] = [];
  messages: Message[] = [];
  /** Views and messages, a line for each. */
  trace: string[] = [];
  /** All messages of the group, as far as the adapter lets a newcomer know of them. */
  history: string[] = [];
  checkpoints = 0;
  bases = 0;
  ended = false;
  /** Its own multicasts that have resolved. */
  readonly resolved: string[] = [];

  constructor(group: Group, membership: Membership) {
    this.group = group;
    this.membership = membership;
    void this.#follow();
  }

  get view(): View | undefined {
    return this.views.at(-1);
  }
  get self(): string | undefined {
    return this.view?.self;
  }
  /** The view with which it came in. */
  get ownView(): View | undefined {
    return this.views.find(({ self }) => self !== undefined);
  }
  get bodies(): string[] {
    return this.messages.map(({ body }) => body.toString());
  }
  /** From this view on. */
  traceSince(view: View | undefined): string[] {
    return this.trace.slice(this.trace.findIndex((line) => line.startsWith(`view ${view?.id} `)));
  }

  async multicast(text: string, service?: Service): Promise<void> {
    await this.membership.multicast(Buffer.from(text), service);
    this.resolved.push(text);
  }
  /** All at once; in order. */
  multicastAll(texts: readonly string[], service?: Service): Promise<void[]> {
    return Promise.all(texts.map((text) => this.multicast(text, service)));
  }
  /** The same, whatever becomes of them: `resolved` tells. */
  async tryAll(texts: readonly string[]): Promise<void> {
    await Promise.allSettled(texts.map((text) => this.multicast(text)));
  }

  async #follow(): Promise<void> {
    for await (const event of this.membership) {
      if (event.type === 'checkpoint') {
        this.checkpoints++;
        event.save(Buffer.from(JSON.stringify(this.history)));
      } else if (event.type === 'base') {
        this.#begin(event);
      } else if (event.type === 'view') {
        this.views.push(event);
        this.trace.push(`view ${event.id} ${event.cause}: ${idsOf(event).join(' ')}`);
      } else {
        this.messages.push(event);
        this.history.push(lineOf(event));
        this.trace.push(lineOf(event));
      }
    }
    this.ended = true;
  }

  #begin(base: Base): void {
    this.base = base;
    this.bases++;
    [this.views, this.messages, this.trace] = [[], [], []];
    const { state } = base;
    this.history = state === undefined || state.length === 0 ? [] : (JSON.parse(state.toString()) as string[]);
  }
}

/** What the tests of one adapter share: its fixture, and what they have opened. */
class Stage implements Fates {
  readonly features: Features;
  fixture!: Fixture;
  readonly #open = new Set<Group>();

  constructor(features: Features) {
    this.features = features;
  }

  async connect(): Promise<Group> {
    const group = await this.fixture.connect();
    this.#open.add(group);
    return group;
  }

  /** Resolves when it is in. */
  async join(groupName: string, name: string, connected?: Group): Promise<Follower> {
    const group = connected ?? (await this.connect());
    const follower = new Follower(group, await this.settle(group.join(groupName, name)));
    await this.until(() => follower.self !== undefined);
    return follower;
  }

  /** One after the other: the first is the oldest. */
  async joinAll(groupName: string, memberNames: readonly string[]): Promise<Follower[]> {
    const followers: Follower[] = [];
    for (const name of memberNames) followers.push(await this.join(groupName, name));
    await this.until(() => followers.every(({ view }) => view?.members.length === memberNames.length));
    return followers;
  }

  async kill({ group }: { group: Group }): Promise<void> {
    this.#open.delete(group);
    await this.fixture.kill(group);
  }
  cut({ group }: { group: Group }): void {
    this.fixture.cut!(group);
  }
  heal({ group }: { group: Group }): void {
    this.fixture.heal!(group);
  }

  /** Where time is the test's own nothing but work takes any. */
  get #patience(): { timeoutMs: number; intervalMs: number } {
    return { timeoutMs, intervalMs: this.fixture.passTime ? 0 : 5 };
  }

  until(probe: () => boolean): Promise<boolean> {
    return eventually(async () => {
      await this.fixture.passTime?.();
      return probe();
    }, this.#patience);
  }

  /** As awaiting it, but time passes. */
  async settle<Value>(promise: Promise<Value>): Promise<Value> {
    let isSettled = false;
    const done = (): void => void (isSettled = true);
    promise.then(done, done);
    await this.until(() => isSettled);
    return promise;
  }

  /** Each of these has all of these messages. */
  haveAll(followers: readonly Follower[], texts: readonly string[]): Promise<boolean> {
    return this.until(() =>
      followers.every(({ history }) => texts.every((text) => history.some((line) => line.endsWith(` ${text}`)))),
    );
  }

  /** They come to have one history: what did not resolve may reach one of them a moment before the others. */
  async agree([first, ...others]: readonly Follower[]): Promise<void> {
    await this.until(() => others.every(({ history }) => history.length === first!.history.length));
    for (const { history } of others) expect(history).toEqual(first!.history);
  }

  async closeAll(): Promise<void> {
    for (const group of this.#open) this.fixture.heal?.(group);
    await this.settle(Promise.all([...this.#open].map((group) => group.close())));
    this.#open.clear();
  }
}

/** Runs the contract against an adapter that claims these features. */
export function groupContract(name: string, features: Features, makeFixture: () => Promise<Fixture>): void {
  describe(`the contract of a group: ${name}`, { timeout: 120_000 }, () => {
    const stage = new Stage(features);
    beforeAll(async () => void (stage.fixture = await makeFixture()));
    afterEach(() => stage.closeAll());
    afterAll(() => stage.fixture.stop());

    test('the adapter claims what it is tested for', async () => {
      expect((await stage.connect()).features).toEqual(features);
    });
    describe('views', () => testViews(stage));
    describe('order', () => testOrder(stage));
    describe('multicasts', () => testMulticasts(stage));
    describe('going', () => testGoing(stage));
    describe('dying', () => testDying(stage));
    if (features.history) describe('history', () => testHistory(stage));
    else describe('no history', () => testNoHistory(stage));
    if (features.primaryPartition) describe('being cut off', () => testCuts(stage));
    if (features.history && features.primaryPartition) describe('replicas', () => testReplicas(stage));
  });
}

function testViews(stage: Stage): void {
  test('a stream begins with a base, and the first of a group is alone', async () => {
    const a = await stage.join(freshGroup(), 'a');
    const first: readonly [number | undefined, Cause | undefined] = [a.base?.state?.length, a.view?.cause];
    expect(first).toEqual([stage.features.history ? 0 : undefined, 'join']);
    expect(a.view?.members).toEqual([{ id: a.self, name: 'a' }]);
    expect(a.view?.together).toEqual([a.self]);
  });

  test('all see the same views, members in the same order, and why each follows the one before', async () => {
    const [a, b, c, d] = (await stage.joinAll(freshGroup(), ['a', 'b', 'c', 'd'])) as [Follower, Follower, Follower, Follower];
    await c.membership.leave();
    await stage.until(() => namesOf(a.view) === 'a b d' && namesOf(b.view) === 'a b d' && namesOf(d.view) === 'a b d');
    await stage.kill(b);
    await stage.until(() => namesOf(a.view) === 'a d' && namesOf(d.view) === 'a d');
    const story = a.views.map((view) => `${view.cause}: ${namesOf(view)}`);
    expect(story.slice(story.indexOf('join: a'))).toEqual([
      ...['join: a', 'join: a b', 'join: a b c', 'join: a b c d'],
      ...['leave: a b d', 'disconnect: a d'],
    ]);
    expect(new Set(a.views.map(({ id }) => id)).size).toBe(a.views.length);
    for (const other of [b, c, d]) {
      const seen = other.traceSince(other.ownView);
      expect(a.traceSince(other.ownView).slice(0, seen.length)).toEqual(seen);
    }
  });

  test('each finds itself in a view, and those that came there with it', async () => {
    const [a, b, c] = (await stage.joinAll(freshGroup(), ['a', 'b', 'c'])) as [Follower, Follower, Follower];
    await b.membership.leave();
    await stage.until(() => [a, c].every(({ view }) => namesOf(view) === 'a c'));
    for (const follower of [a, c]) {
      const own = follower.views.filter(({ self }) => self !== undefined);
      expect(new Set(own.map(({ self }) => self)).size).toBe(1);
      for (const view of own) expect(idsOf(view)).toContain(view.self);
    }
    expect(a.view?.together).toEqual([a.self, c.self]);
    expect(c.view?.together).toEqual([a.self, c.self]);
    expect(c.ownView?.together).toEqual([c.self]);
    const [, withB, withC] = a.views.filter(({ self }) => self !== undefined);
    expect([withB?.together, withC?.together]).toEqual([[a.self], idsOf(withB)]);
  });

  test('groups are apart, also those that one process is in', async () => {
    const [one, other] = [freshGroup(), freshGroup()];
    const process = await stage.connect();
    const [a, b] = [await stage.join(one, 'a', process), await stage.join(other, 'b', process)];
    await stage.settle(Promise.all([a.multicast('to one'), b.multicast('to the other')]));
    expect([a.bodies, b.bodies]).toEqual([['to one'], ['to the other']]);
    expect([namesOf(a.view), namesOf(b.view)]).toEqual(['a', 'b']);
  });

  test('a name that not every adapter takes is refused', async () => {
    const group = await stage.connect();
    for (const bad of ['', '1a', 'a'.repeat(11), 'a b', 'a#b', 'ä', '-a']) {
      await expect(group.join(bad, 'a')).rejects.toThrow(RangeError);
      await expect(group.join('group', bad)).rejects.toThrow(RangeError);
    }
    const longest = await stage.join(freshGroup(), 'A-z_456789', group);
    expect(namesOf(longest.view)).toBe('A-z_456789');
  });
}

function testOrder(stage: Stage): void {
  for (const service of services) {
    test(`${service}: what several send at once reaches all, of each sender in its order`, async () => {
      const followers = await stage.joinAll(freshGroup(), ['a', 'b', 'c']);
      const senders = followers.map((follower, index) => ({ follower, texts: numbered(`${index}-`, 100) }));
      await stage.settle(Promise.all(senders.map(({ follower, texts }) => follower.multicastAll(texts, service))));
      await stage.until(() => followers.every(({ messages }) => messages.length === 300));
      for (const { messages } of followers) {
        expect(new Set(messages.map((message) => message.service))).toEqual(new Set([service]));
        for (const { follower, texts } of senders) {
          const own = messages.filter(({ sender }) => sender.id === follower.self);
          expect(own.map(({ body }) => body.toString())).toEqual(texts);
        }
      }
      if (service === 'fifo' || service === 'causal') return;
      for (const { bodies } of followers) expect(bodies).toEqual(followers[0]!.bodies);
    });
  }

  for (const service of services.filter((each) => each !== 'fifo')) {
    test(`${service}: an answer comes after what it answers`, async () => {
      const [a, b, c] = (await stage.joinAll(freshGroup(), ['a', 'b', 'c'])) as [Follower, Follower, Follower];
      for (const question of numbered('question ', 20)) {
        const asked = a.multicast(question, service);
        await stage.until(() => b.bodies.includes(question));
        await stage.settle(Promise.all([asked, b.multicast(`answer to ${question}`, service)]));
      }
      await stage.until(() => c.messages.length === 40);
      expect(c.bodies).toEqual(numbered('question ', 20).flatMap((question) => [question, `answer to ${question}`]));
    });
  }

  test('agreed and safe messages are in one order, and causal and fifo ones in that of their sender', async () => {
    const followers = await stage.joinAll(freshGroup(), ['a', 'b']);
    const send = (follower: Follower, index: number): Promise<void>[] =>
      numbered(`${index}-`, 100).map((text, number) => follower.multicast(text, services[number % 4]));
    await stage.settle(Promise.all(followers.flatMap(send)));
    await stage.until(() => followers.every(({ messages }) => messages.length === 200));
    const ordered = followers.map(({ messages }) => messages.filter(({ service }) => service === 'agreed' || service === 'safe'));
    expect(ordered[0]?.map(lineOf)).toEqual(ordered[1]?.map(lineOf));
    for (const { messages } of followers) {
      const ofFirst = messages.filter(({ sender }) => sender.id === followers[0]!.self);
      expect(ofFirst.map(({ body }) => body.toString())).toEqual(numbered('0-', 100));
    }
  });

  test('members come, go and die between the same messages at all', async () => {
    const groupName = freshGroup();
    const [a, b] = (await stage.joinAll(groupName, ['a', 'b'])) as [Follower, Follower];
    let isOver = false;
    const sent: string[] = [];
    const pump = async (follower: Follower, what: string): Promise<void> => {
      while (!isOver) {
        const texts = numbered(`${what}${sent.length}-`, 3);
        sent.push(...texts);
        await stage.settle(follower.multicastAll(texts));
      }
    };
    const pumps = [pump(a, 'a'), pump(b, 'b')];
    const c = await stage.join(groupName, 'c');
    const d = await stage.join(groupName, 'd');
    await stage.until(() => [c, d].every((each) => each.traceSince(each.ownView).length > 20));
    await c.membership.leave();
    await stage.until(() => namesOf(a.view) === 'a b d');
    await stage.kill(d);
    await stage.until(() => namesOf(a.view) === 'a b' && namesOf(b.view) === 'a b');
    isOver = true;
    await Promise.all(pumps);
    await stage.haveAll([a, b], sent);
    expect(a.traceSince(b.ownView)).toEqual(b.traceSince(b.ownView));
    for (const gone of [c, d]) {
      const seen = gone.traceSince(gone.ownView);
      expect(seen.length).toBeGreaterThan(20);
      expect(a.traceSince(gone.ownView).slice(0, seen.length)).toEqual(seen);
    }
  });
}

function testMulticasts(stage: Stage): void {
  test('a multicast has resolved only when its message is in the sender’s own stream', async () => {
    const group = await stage.connect();
    const membership = await stage.settle(group.join(freshGroup(), 'a'));
    await stage.settle(membership.multicast(Buffer.from('mine')));
    const iterator = membership[Symbol.asyncIterator]();
    const seen: string[] = [];
    for (let isReady = true; isReady;) {
      const next = await Promise.race([iterator.next(), new Promise<undefined>((resolve) => setImmediate(resolve, undefined))]);
      isReady = next !== undefined;
      if (next?.done === false && next.value.type !== 'checkpoint')
        seen.push(next.value.type === 'message' ? next.value.body.toString() : next.value.type);
    }
    expect(seen[0]).toBe('base');
    expect(seen.slice(-2)).toEqual(['view', 'mine']);
  });

  test('what has resolved is with all who were there, and before all who come later', async () => {
    const groupName = freshGroup();
    const [a, b, c] = (await stage.joinAll(groupName, ['a', 'b', 'c'])) as [Follower, Follower, Follower];
    await stage.settle(a.multicastAll(numbered('before', 20)));
    await stage.kill(a);
    const d = await stage.join(groupName, 'd');
    await stage.until(() => [b, c, d].every(({ view }) => namesOf(view) === 'b c d'));
    for (const { trace } of [b, c]) {
      const last = trace.findIndex((line) => line.endsWith(' before19'));
      expect(last).toBeGreaterThan(0);
      expect(last).toBeLessThan(trace.findIndex((line) => line.startsWith(`view ${d.ownView?.id} `)));
    }
    if (stage.features.history) expect(d.history).toEqual(b.history);
    else expect(d.messages).toEqual([]);
  });

  test('bodies are bytes: none, all values, as many as may be, and no more', async () => {
    const [a, b] = (await stage.joinAll(freshGroup(), ['a', 'b'])) as [Follower, Follower];
    const { bodyBytesMax } = stage.features;
    const all = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    const bodies = [Buffer.alloc(0), all, Buffer.alloc(bodyBytesMax, 'x')];
    await stage.settle(Promise.all(bodies.map((body) => a.membership.multicast(body))));
    await stage.until(() => b.messages.length === bodies.length);
    for (const { messages } of [a, b])
      expect(messages.map(({ body }, index) => body.equals(bodies[index]!))).toEqual([true, true, true]);
    await expect(stage.settle(a.membership.multicast(Buffer.alloc(bodyBytesMax + 1)))).rejects.toThrow(RangeError);
  });
}

function testGoing(stage: Stage): void {
  test('who leaves sees its stream end, and its multicasts settle: all have what resolved, the rest is indefinite', async () => {
    const [a, b] = (await stage.joinAll(freshGroup(), ['a', 'b'])) as [Follower, Follower];
    const texts = numbered('late', 50);
    const settled = Promise.allSettled(texts.map((text) => b.multicast(text)));
    await stage.settle(b.membership.leave());
    const outcomes = await stage.settle(settled);
    await stage.until(() => b.ended && namesOf(a.view) === 'a');
    expect(a.view?.cause).toBe('leave');
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(IndefiniteError);
    await stage.haveAll(
      [a],
      texts.filter((_, index) => outcomes[index]?.status === 'fulfilled'),
    );
    await expect(b.multicast('too late')).rejects.toThrow(IndefiniteError);
    await stage.settle(b.membership.leave());
  });

  test('a process that closes leaves all its groups', async () => {
    const [one, other] = [freshGroup(), freshGroup()];
    const staying = [await stage.join(one, 'a'), await stage.join(other, 'b')];
    const going = await stage.connect();
    await stage.join(one, 'c', going);
    await stage.join(other, 'd', going);
    await stage.settle(going.close());
    await stage.until(() => staying.every(({ view }) => view?.members.length === 1 && view.cause === 'leave'));
  });

  test('who comes back under its name is new', async () => {
    const groupName = freshGroup();
    const [a, b] = (await stage.joinAll(groupName, ['a', 'b'])) as [Follower, Follower];
    const before = a.self;
    await stage.settle(a.membership.leave());
    await stage.until(() => namesOf(b.view) === 'b');
    const again = await stage.join(groupName, 'a');
    await stage.until(() => b.view?.members.length === 2);
    expect(again.ownView?.together).toEqual([again.self]);
    if (stage.features.uniqueIds) expect(again.self).not.toBe(before);
  });
}

function testDying(stage: Stage): void {
  for (const [whom, index] of [
    ['the oldest member', 0],
    ['the youngest member', 2],
  ] as const) {
    test(`${whom} dies amid its messages: the others go on, with the same of it`, async () => {
      const groupName = freshGroup();
      const followers = await stage.joinAll(groupName, ['a', 'b', 'c']);
      const doomed = followers[index]!;
      const survivors = followers.filter((each) => each !== doomed);
      await stage.settle(doomed.multicastAll(numbered('done', 50)));
      void doomed.tryAll(numbered('in flight', 50));
      await stage.kill(doomed);
      await stage.until(() => survivors.every(({ view }) => view?.members.length === 2));
      expect(survivors.map(({ view }) => view?.cause)).toEqual(['disconnect', 'disconnect']);
      await stage.settle(Promise.all(survivors.map((each) => each.multicast(`after ${each.self}`))));
      await stage.haveAll(survivors, [...doomed.resolved, ...survivors.flatMap(({ resolved }) => resolved)]);
      const [one, other] = survivors as [Follower, Follower];
      const since = one.ownView?.members.length === 3 ? one.ownView : other.ownView;
      expect(one.traceSince(since)).toEqual(other.traceSince(since));
    });
  }

  test('of several that die at once one remains, and is enough', async () => {
    const groupName = freshGroup();
    const [a, b, c, d] = (await stage.joinAll(groupName, ['a', 'b', 'c', 'd'])) as [Follower, Follower, Follower, Follower];
    await Promise.all([a, b, d].map((each) => stage.kill(each)));
    await stage.until(() => namesOf(c.view) === 'c');
    await stage.settle(c.multicast('alone'));
    expect(c.bodies).toEqual(['alone']);
    const e = await stage.join(groupName, 'e');
    expect(namesOf(e.view)).toBe('c e');
  });
}

function testHistory(stage: Stage): void {
  test('a view has its oldest member first', async () => {
    const groupName = freshGroup();
    const [, b, c] = await stage.joinAll(groupName, ['z', 'b', 'm']);
    await stage.settle(b!.membership.leave());
    const again = await stage.join(groupName, 'b');
    await stage.until(() => c!.view?.members.length === 3);
    expect([namesOf(c!.view), namesOf(again.view)]).toEqual(['z m b', 'z m b']);
  });

  test('a newcomer begins from a saved state, and reads little more than that', async () => {
    const groupName = freshGroup();
    const [a, b] = (await stage.joinAll(groupName, ['a', 'b'])) as [Follower, Follower];
    const body = Buffer.alloc(64 * 1024, 'x');
    for (let round = 0; round < 16; round++)
      await stage.settle(Promise.all(Array.from({ length: 8 }, () => a.membership.multicast(body))));
    await stage.until(() => a.checkpoints + b.checkpoints > 0 && b.history.length === 128);
    const c = await stage.join(groupName, 'c');
    await stage.agree([a, c]);
    const bytes = c.base!.state!.length + c.messages.reduce((sum, message) => sum + message.body.length, 0);
    expect(bytes).toBeLessThan(1024 * 1024);
  });

  test('a group whose members all died has what resolved when others come, and again', async () => {
    const groupName = freshGroup();
    const resolved: string[] = [];
    for (const round of [0, 1, 2]) {
      const followers = await stage.joinAll(groupName, ['a', 'b']);
      await stage.haveAll(followers, resolved);
      await stage.settle(Promise.all(followers.map((each, index) => each.multicastAll(numbered(`${round}.${index}.done`, 50)))));
      for (const [index, follower] of followers.entries()) void follower.tryAll(numbered(`${round}.${index}.in flight`, 50));
      await Promise.all(followers.map((follower) => stage.kill(follower)));
      resolved.push(...followers.flatMap((follower) => follower.resolved));
    }
    const last = await stage.join(groupName, 'last');
    await stage.haveAll([last], resolved);
    expect(new Set(last.history).size).toBe(last.history.length);
  });

  test('a member that nobody reads from holds up nobody, and has all when somebody does', async () => {
    const groupName = freshGroup();
    const idle = await stage.connect();
    const membership = await stage.settle(idle.join(groupName, 'idle'));
    const [a, b] = [await stage.join(groupName, 'a'), await stage.join(groupName, 'b')];
    const body = Buffer.alloc(Math.min(stage.features.bodyBytesMax, 8 * 1024 * 1024));
    const bytes = 80 * 1024 * 1024;
    for (let sent = 0; sent < bytes; sent += body.length) await stage.settle(a.membership.multicast(body));
    const late = new Follower(idle, membership);
    await stage.settle(b.multicast('last'));
    await stage.haveAll([a, b, late], ['last']);
    await stage.until(() => [a, b, late].every(({ view }) => view?.members.length === 3));
    for (const { history } of [b, late]) expect(history).toEqual(a.history);
  });

  test('a group that all have left is there when somebody comes', async () => {
    const groupName = freshGroup();
    const a = await stage.join(groupName, 'a');
    await stage.settle(a.multicastAll(numbered('kept', 10)));
    await stage.settle(a.membership.leave());
    const b = await stage.join(groupName, 'b');
    expect(b.history).toEqual(a.history);
    expect(namesOf(b.view)).toBe('b');
  });
}

function testNoHistory(stage: Stage): void {
  test('a newcomer learns nothing of what was before', async () => {
    const groupName = freshGroup();
    const a = await stage.join(groupName, 'a');
    await stage.settle(a.multicastAll(numbered('past', 10)));
    const b = await stage.join(groupName, 'b');
    await stage.settle(a.multicast('present'));
    await stage.until(() => b.messages.length > 0);
    expect([b.base?.state, b.bodies]).toEqual([undefined, ['present']]);
  });
}

function testCuts(stage: Stage): void {
  for (const [whom, index] of [
    ['the oldest', 0],
    ['the youngest', 2],
  ] as const) {
    test(`${whom} is cut off for longer than its session: it comes back as another, and nothing that resolved is lost`, async () => {
      const followers = await stage.joinAll(freshGroup(), ['a', 'b', 'c']);
      const lost = followers[index]!;
      const others = followers.filter((each) => each !== lost);
      const before = lost.self;
      await stage.settle(lost.multicastAll(numbered('before', 20)));
      stage.cut(lost);
      const tried = lost.tryAll(numbered('cut off', 20));
      await stage.until(() => others.every(({ view }) => view?.members.length === 2));
      expect(others[0]!.view?.cause).toBe('disconnect');
      expect(lost.view?.members.length).toBe(3);
      await stage.settle(others[0]!.multicastAll(numbered('meanwhile', 20)));
      stage.heal(lost);
      await stage.until(() => followers.every(({ view }) => view?.members.length === 3 && !idsOf(view).includes(before!)));
      expect(idsOf(lost.view).at(-1)).toBe(lost.self);
      await stage.settle(tried);
      await stage.settle(lost.multicast('back'));
      await stage.settle(lost.multicast('back'));
      await stage.haveAll(
        followers,
        followers.flatMap(({ resolved }) => resolved),
      );
      await stage.agree(followers);
    });
  }

  test('all are cut off: who comes meanwhile goes on alone with what resolved, and they come back to it', async () => {
    const groupName = freshGroup();
    const followers = await stage.joinAll(groupName, ['a', 'b', 'c']);
    await stage.settle(Promise.all(followers.map((each) => each.multicast(`before ${each.self}`))));
    for (const follower of followers) stage.cut(follower);
    const tried = followers.map((each) => each.tryAll([`cut off ${each.self}`]));
    const newcomer = await stage.join(groupName, 'd');
    await stage.until(() => namesOf(newcomer.view) === 'd');
    await stage.settle(newcomer.multicast('alone'));
    for (const follower of followers) stage.heal(follower);
    const all = [...followers, newcomer];
    await stage.until(() => all.every(({ view }) => view?.members.length === 4 && view.members[0]?.name === 'd'));
    await stage.settle(Promise.all([...tried, ...followers.map((each) => each.multicast(`after ${each.self}`))]));
    await stage.haveAll(
      all,
      all.flatMap(({ resolved }) => resolved),
    );
    await stage.agree(all);
  });
}

function testReplicas(stage: Stage): void {
  test('replicas are one object to all who submit, though its leader is cut off and another member dies', async () => {
    const { history, fenced } = await counterHistory(freshGroup(), stage, (options) => new Replica(options));
    assertLinearizable(counter, history);
    expect(fenced, 'counts of an old leader').toBeGreaterThan(0);
    expect(history.filter(({ answer }) => answer !== undefined).length).toBeGreaterThan(100);
  });
}
