/**
 * Spread's kind of group without the network: extended virtual synchrony, and no history. What follows from Spread's sources is as there: members in alphabetical order, not by age; ids used again; ids
 * of views that begin anew in a group that was empty; newcomers that come in a view of the cause `network`. Nothing moves but by `step`.
 */
import type { Random } from '@lab/testing';
import { EventQueue } from '../src/event-queue.ts';
import { IndefiniteError, type Cause, type Features, type Group, type GroupEvent, type Membership } from '../src/port.ts';

/** How many multicasts of one member are on their way; the others wait in the member, and survive the loss of its session. */
const inFlightMax = 3;

interface Multicast {
  readonly body: Buffer;
  readonly came: PromiseWithResolvers<void>;
}

/** Daemons that reach each other. */
class Component {
  members: HubMembership[] = [];
  readonly #number: number;
  #views = 0;

  constructor(number: number) {
    this.#number = number;
  }

  /** A view for all, who come from these parts. */
  show(cause: Cause, parts: readonly (readonly HubMembership[])[]): void {
    this.members.sort((a, b) => (a.id < b.id ? -1 : 1));
    const members = this.members.map(({ id, name }) => ({ id, name }));
    const id = `${this.#number}-${++this.#views}`;
    if (members.length === 0) this.#views = 0;
    for (const member of this.members) {
      const part = parts.find((each) => each.includes(member)) ?? [member];
      const together = members.map((each) => each.id).filter((each) => part.some((mate) => mate.id === each));
      member.show({ type: 'view', id, cause, members, self: member.id, together });
    }
  }
}

export class HubMembership implements Membership {
  readonly id: string;
  readonly name: string;
  readonly #hub: Hub;
  component: Component | undefined;
  gone = false;
  readonly #events = new EventQueue();
  #isNew = true;
  /** The process has been told that its last session began. */
  isUpToDate = false;
  #bases = 0;
  #basesTaken = 0;
  #stalled: PromiseWithResolvers<void> | undefined;
  readonly waiting: Multicast[] = [];
  readonly inFlight: Multicast[] = [];

  constructor(name: string, hub: Hub) {
    this.id = `#${name}#d`;
    this.name = name;
    this.#hub = hub;
  }

  show(event: GroupEvent): void {
    if (this.#isNew) this.#events.push({ type: 'base', state: undefined });
    if (this.#isNew) this.#bases++;
    this.#isNew = false;
    this.#events.push(event);
  }

  multicast(body: Uint8Array): Promise<void> {
    const multicast = { body: Buffer.from(body), came: Promise.withResolvers<void>() };
    if (this.gone) multicast.came.reject(new IndefiniteError('gone'));
    else this.waiting.push(multicast);
    this.send();
    return multicast.came.promise;
  }

  send(): void {
    while (this.component !== undefined && this.inFlight.length < inFlightMax && this.waiting.length > 0)
      this.inFlight.push(this.waiting.shift()!);
  }

  /** The connection to the daemon is lost. */
  lose(): void {
    this.component = undefined;
    this.#isNew = true;
    this.isUpToDate = false;
    for (const { came } of this.inFlight.splice(0)) came.reject(new IndefiniteError('lost'));
  }

  /** The process takes no events until `go`. */
  stall(): void {
    this.#stalled ??= Promise.withResolvers();
  }

  go(): void {
    this.#stalled?.resolve();
    this.#stalled = undefined;
  }

  async leave(): Promise<void> {
    if (this.gone) return;
    this.gone = true;
    this.#hub.remove(this, 'leave');
    for (const { came } of this.waiting.splice(0)) came.reject(new IndefiniteError('left'));
    this.#events.end();
    this.go();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<GroupEvent> {
    for await (const event of this.#events) {
      while (this.#stalled !== undefined) await this.#stalled.promise;
      if (event.type === 'base') this.#basesTaken++;
      this.isUpToDate = this.component !== undefined && this.#basesTaken === this.#bases;
      yield event;
    }
  }
}

export class Hub {
  readonly #random: Random;
  components: Component[] = [new Component(0)];
  #componentCount = 0;
  readonly memberships: HubMembership[] = [];
  readonly features: Features;

  constructor(random: Random, bodyBytesMax: number) {
    this.#random = random;
    this.features = { history: false, primaryPartition: false, uniqueIds: false, bodyBytesMax };
  }

  /** Another process. */
  connect(): Group {
    const own: HubMembership[] = [];
    return {
      features: this.features,
      join: async (_group, name) => {
        const membership = new HubMembership(name, this);
        own.push(membership);
        this.memberships.push(membership);
        this.enter(membership);
        return membership;
      },
      close: async () => void (await Promise.all(own.map((membership) => membership.leave()))),
    };
  }

  /** Joins, or joins again after a lost session. */
  enter(membership: HubMembership): void {
    const component = this.#random.pick(this.components);
    const present = [...component.members];
    membership.component = component;
    component.members.push(membership);
    component.show(this.#random.chance(0.2) ? 'network' : 'join', [present, [membership]]);
    membership.send();
  }

  remove(membership: HubMembership, cause: 'leave' | 'disconnect'): void {
    const { component } = membership;
    if (component === undefined) return;
    component.members.splice(component.members.indexOf(membership), 1);
    membership.lose();
    component.show(cause, [component.members]);
  }

  /** One message reaches its place in the order of its component. */
  deliver(): boolean {
    const senders = this.memberships.filter(({ inFlight }) => inFlight.length > 0);
    if (senders.length === 0) return false;
    const sender = this.#random.pick(senders);
    const { body, came } = sender.inFlight.shift()!;
    const { id, name } = sender;
    for (const member of sender.component!.members) {
      member.show({ type: 'message', sender: { id, name }, service: 'agreed', body });
    }
    came.resolve();
    sender.send();
    return true;
  }

  /** The members of all components are dealt to so many new ones. */
  rewire(count: number): void {
    const before = this.components.map(({ members }) => members);
    this.components = Array.from({ length: count }, () => new Component(++this.#componentCount));
    for (const membership of before.flat()) {
      membership.component = this.#random.pick(this.components);
      membership.component.members.push(membership);
    }
    for (const component of this.components) component.show('network', before);
  }
}
