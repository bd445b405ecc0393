/**
 * The port on a real Spread daemon, over TCP.
 *
 * A session has one private name, so each membership is a session of its own, and the group itself holds no connection. Sessions do not survive: when one is lost, its
 * member is out of the group, and comes back as a new one as soon as the daemon lets it. The protocol knows no heartbeat: a member whose daemon hangs finds out when it
 * multicasts, and not before.
 *
 * Spread's groups are open: a message from a program that is no member of the group reaches the stream too. What this adapter cannot have sent does not:
 * `unreliable` and `reliable` messages, which promise less than the port's weakest service, and messages to one private name.
 */
import { BackOff, systemClock, type Clock } from '@lab/process/time';
import { eventBytesMax, EventQueue } from '../event-queue.ts';
import {
  checkName,
  services,
  silentGroup,
  type Features,
  type Group,
  type GroupEvent,
  type GroupLogger,
  type Membership,
  type Service,
} from '../port.ts';
import {
  encodeJoin,
  encodeKill,
  encodeLeave,
  encodeMulticast,
  ProtocolError,
  type Multicast,
  type RegularMembership,
} from './codec.ts';
import { Outbox } from './outbox.ts';
import { ConnectionError, format, Session, type Address, type SessionMessage } from './session.ts';
import { isPortService, memberOf, viewOf } from './view.ts';

export interface SpreadOptions {
  /** `host:port`; Spread's port is 4803. */
  daemon: string;
  /** From the start of a connection to the daemon's acceptance. 1 ms to 24 days; default 5,000. */
  connectTimeoutMs?: number;
  /**
   * A daemon that owes this member an answer and gives none for so long is given up: a join, or a multicast that does not come back. It must be longer than the
   * daemons take to agree on a membership after a failure, in which they answer nobody: 4 s with their own settings for a local network, more in a wide one. 1 ms
   * to 24 days; default 30,000.
   */
  replyTimeoutMs?: number;
  /** Default: silence. */
  log?: GroupLogger;
  /** For the jitter of the back-off: a number from 0 to 1. Default `Math.random`. */
  random?: () => number;
  /** Default `systemClock`. */
  clock?: Pick<Clock, 'after'>;
}

const features: Features = {
  history: false,
  // Both parts of a divided network go on, and meet again in a view with the cause `network`.
  primaryPartition: false,
  // `#name#daemon` comes back with its name. The ids of views are unique while the group has members; one that begins again may count anew.
  uniqueIds: false,
  // The daemon takes some 140,000 bytes, names included, in a message.
  bodyBytesMax: 100_000,
};

/**
 * A daemon drops a client that has 1,000 messages waiting, so no member may have many more in flight than it has read: 64 keep a connection busy, and fifteen
 * members that send all they can still do not harm the slowest.
 */
const limits = { inFlightMax: 64, inFlightBytesMax: 1024 * 1024, waitingBytesMax: 64 * 1024 * 1024 };
/** For a leave, and again for the end of the session. */
const leaveTimeoutMs = 5_000;
/** The longest that a timer of Node can wait. */
const timerMsMax = 2 ** 31 - 1;

type Options = Omit<Required<SpreadOptions>, 'daemon'> & { daemon: Address };

/** Throws a `RangeError` that names the option that is wrong. Whether the daemon is there, `join` will tell: it rejects with what is in the way. */
export function makeSpreadGroup(options: SpreadOptions): Group {
  const normal = normalizeOptions(options);
  const memberships = new Set<SpreadMembership>();
  let closed = false;
  return {
    features,
    async join(group, name) {
      checkName('group', group);
      checkName('member', name);
      if (closed) throw new ConnectionError(`"${name}" cannot join "${group}": this connection to Spread was closed`);
      const membership = new SpreadMembership(normal, group, name, () => memberships.delete(membership));
      memberships.add(membership);
      await membership.join();
      return membership;
    },
    async close() {
      closed = true;
      await Promise.all([...memberships].map((membership) => membership.leave()));
    },
  };
}

function normalizeOptions({ daemon, ...options }: SpreadOptions): Options {
  const normal = {
    connectTimeoutMs: 5_000,
    replyTimeoutMs: 30_000,
    log: silentGroup,
    random: Math.random,
    clock: systemClock,
    ...options,
    daemon: parseAddress(daemon),
  };
  for (const field of ['connectTimeoutMs', 'replyTimeoutMs'] as const) {
    const value = normal[field];
    if (!(value >= 1 && value <= timerMsMax))
      throw new RangeError(`makeSpreadGroup: ${field} is ${value}; it must be from 1 to ${timerMsMax}`);
  }
  return normal;
}

function parseAddress(daemon: string): Address {
  const [, inBrackets, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(daemon) ?? [];
  const host = inBrackets ?? plain;
  const port = Number(digits);
  if (host === undefined || !(port >= 1 && port <= 65_535))
    throw new RangeError(`makeSpreadGroup: daemon is "${daemon}"; it must look like localhost:4803`);
  return { host, port };
}

class SpreadMembership implements Membership {
  readonly #options: Options;
  readonly #group: string;
  readonly #name: string;
  readonly #onEnd: () => void;
  readonly #events = new EventQueue();
  readonly #outbox = new Outbox(limits);
  /** Resolves when this member wants to leave. */
  readonly #stop = Promise.withResolvers<void>();
  /** Resolves when the daemon has confirmed the leave. */
  readonly #left = Promise.withResolvers<void>();
  #leave: Promise<void> | undefined;
  /** The present one, from its first connection on. */
  #session: Session | undefined;
  /** The first view of this session has come. */
  #inGroup = false;
  /** The last session was given up because the reader had fallen behind. */
  #behind = false;
  readonly #backOff: BackOff;
  #cancelDeadline: (() => void) | undefined;

  constructor(options: Options, group: string, name: string, onEnd: () => void) {
    this.#options = options;
    this.#group = group;
    this.#name = name;
    this.#onEnd = onEnd;
    // To 5 s: what a member may lag behind a daemon that is back.
    this.#backOff = new BackOff({ random: options.random });
  }

  /** Asks for membership. Once that has succeeded the session is renewed whenever it is lost. */
  async join(): Promise<void> {
    try {
      const session = await this.#open();
      void this.#stay(session);
    } catch (error) {
      this.#onEnd();
      throw error;
    }
  }

  async multicast(body: Uint8Array, service: Service = 'agreed'): Promise<void> {
    if (!services.includes(service))
      throw new RangeError(`the service is "${String(service)}"; it must be one of ${services.join(', ')}`);
    if (body.length > features.bodyBytesMax)
      throw new RangeError(`the body has ${body.length} bytes; at most ${features.bodyBytesMax} can be multicast`);
    await this.#outbox.add(service, body);
  }

  leave(): Promise<void> {
    this.#leave ??= this.#leaveInOrder();
    return this.#leave;
  }

  [Symbol.asyncIterator](): AsyncIterator<GroupEvent> {
    return this.#events[Symbol.asyncIterator]();
  }

  get #isLeaving(): boolean {
    return this.#leave !== undefined;
  }

  async #open(): Promise<Session> {
    const { daemon, connectTimeoutMs, clock } = this.#options;
    const receive = (message: SessionMessage): void => this.#receive(message, session);
    const session = new Session({ daemon, name: this.#name, connectTimeoutMs, clock, receive });
    this.#session = session;
    await session.accepted;
    session.send(encodeJoin(session.privateName, this.#group));
    this.#expectReply(session);
    return session;
  }

  /** Renews the session until this member leaves. */
  async #stay(first: Session): Promise<void> {
    for (let session: Session | undefined = first; session !== undefined; session = await this.#reopen()) {
      this.#lose(await session.ended);
    }
  }

  #lose(reason: Error): void {
    this.#inGroup = false;
    this.#cancelDeadline?.();
    this.#cancelDeadline = undefined;
    this.#outbox.lose(reason);
    if (!this.#isLeaving) this.#options.log.warn({ ...this.#who(), err: reason }, 'lost the place in the group');
  }

  /** A new session, or none once this member leaves. */
  async #reopen(): Promise<Session | undefined> {
    if (this.#behind) await Promise.race([this.#events.wanted(), this.#stop.promise]);
    this.#behind = false;
    while (!this.#isLeaving) {
      await this.#waitAtMost(this.#backOff.nextMs(), this.#stop.promise);
      if (this.#isLeaving) break;
      try {
        return await this.#open();
      } catch (err) {
        // A duplicate name is no reason to give up: as a rule the daemon has not noticed yet that this member's last session is dead.
        if (!this.#isLeaving) this.#options.log.warn({ ...this.#who(), err }, 'waiting for the Spread daemon');
      }
    }
    return undefined;
  }

  #receive(message: SessionMessage, session: Session): void {
    switch (message.type) {
      case 'multicast':
        return this.#receiveMulticast(message, session);
      case 'membership':
        return this.#receiveMembership(message, session);
      case 'transition':
        // What follows, up to the next view, may be known to those alone that come to it together with this member. The port promises no more, and that view says who they are.
        return;
      case 'left':
        if (!this.#isLeaving) throw new ProtocolError('the daemon confirms a leave that was not asked for');
        return this.#left.resolve();
    }
  }

  #receiveMulticast({ groups, sender, service, body }: Multicast, session: Session): void {
    if (!groups.includes(this.#group) || !isPortService(service)) return;
    if (!this.#inGroup) throw new ProtocolError('a message to the group came before a view of it');
    this.#push({ type: 'message', sender: memberOf(sender), service, body });
    if (sender !== session.privateName) return;
    this.#outbox.cameBack(service, body);
    this.#expectReply(session);
  }

  #receiveMembership(membership: RegularMembership, session: Session): void {
    if (membership.group !== this.#group) return;
    const first = !this.#inGroup;
    const view = viewOf(membership, session.privateName, first);
    if (view.self === undefined)
      throw new ProtocolError(`the view ${view.id} does not have its receiver, ${session.privateName}`);
    if (first) this.#push({ type: 'base', state: undefined });
    this.#push(view);
    if (first) this.#begin(session);
    this.#expectReply(session);
  }

  #begin(session: Session): void {
    this.#inGroup = true;
    this.#backOff.reset();
    this.#options.log.info({ ...this.#who(), id: session.privateName }, 'in the group');
    // Not before: what a client sends that is no member yet does not come back to it.
    this.#outbox.open((service, body) => this.#send(session, service, body));
  }

  #send(session: Session, service: Service, body: Uint8Array): void {
    const groups = [this.#group];
    session.send(encodeMulticast({ service, selfDiscard: false, sender: session.privateName, groups, messageType: 0, body }));
    if (this.#cancelDeadline === undefined) this.#expectReply(session);
  }

  /**
   * A session that is not read is one that the daemon drops, so reading never stops: when there is no room the session is given up, and all that the reader has not
   * taken with it, for a new base makes it void. Once the reader has caught up there is a new session.
   */
  #push(event: GroupEvent): void {
    this.#events.push(event);
    if (!this.#events.isFull) return;
    this.#events.clear();
    this.#behind = true;
    throw new ConnectionError(`the reader of "${this.#name}" is ${eventBytesMax} bytes behind`);
  }

  /** Gives the daemon its time again if it owes this member anything. */
  #expectReply(session: Session): void {
    this.#cancelDeadline?.();
    this.#cancelDeadline = undefined;
    if (this.#inGroup && this.#outbox.inFlight === 0) return;
    const { daemon, replyTimeoutMs, clock } = this.#options;
    this.#cancelDeadline = clock.after(replyTimeoutMs, () =>
      session.drop(
        new ConnectionError(`the Spread daemon at ${format(daemon)} owed "${this.#name}" an answer for ${replyTimeoutMs} ms`),
      ),
    );
  }

  async #leaveInOrder(): Promise<void> {
    const reason = new ConnectionError(`"${this.#name}" left "${this.#group}"`);
    this.#stop.resolve();
    this.#outbox.close(reason);
    if (this.#session !== undefined) await this.#endInOrder(this.#session, reason);
    this.#events.end();
    this.#onEnd();
  }

  async #endInOrder(session: Session, reason: Error): Promise<void> {
    if (session.privateName === '') return session.drop(reason);
    session.send(encodeLeave(session.privateName, this.#group));
    await this.#waitAtMost(leaveTimeoutMs, Promise.race([this.#left.promise, session.ended]));
    await session.close(encodeKill(session.privateName), leaveTimeoutMs);
  }

  async #waitAtMost(timeoutMs: number, condition: Promise<unknown>): Promise<void> {
    const late = Promise.withResolvers<void>();
    const cancel = this.#options.clock.after(timeoutMs, late.resolve);
    await Promise.race([condition, late.promise]);
    cancel();
  }

  #who(): object {
    return { group: this.#group, name: this.#name, daemon: format(this.#options.daemon) };
  }
}
