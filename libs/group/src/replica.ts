/** A machine's copy in one process, kept the same as all others by a group. What is decided is decided in `replication.ts`. */
import { IndefiniteError, type Group, type GroupEvent, type Member, type Membership, type View } from './port.ts';
import { encodeCommand, Replication, type Leadership, type Machine, type Outcome } from './replication.ts';

export interface ReplicaOptions {
  readonly group: Group;
  /** The group's name, and this member's, as `join` takes them. */
  readonly groupName: string;
  readonly name: string;
  readonly machine: Machine;
  /** Who may lead; the same at all members. */
  readonly isCandidate: (member: Member) => boolean;
  /** Different at each start of any process. */
  readonly token: string;
  /** Called after each change of the state, of the view or of the leader; never while the state is being changed. */
  readonly onChange?: (replica: Replica) => void;
}

/** The command was said as leader, and its epoch had passed: nothing happened, anywhere. */
export class FencedError extends Error {
  constructor(epoch: number) {
    super(`not the leader of epoch ${epoch} anymore: another leads`);
    this.name = new.target.name;
  }
}

interface Submission {
  readonly epoch: number | undefined;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  /** Its multicast has resolved: it is in the order. */
  ordered: boolean;
}

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #replication: Replication;
  readonly #submissions = new Map<number, Submission>();
  readonly #failure = Promise.withResolvers<never>();
  readonly #ready = Promise.withResolvers<void>();
  #membership: Membership | undefined;
  #numbers = 0;
  /** The end of the line of parts of states. */
  #lastPart: Promise<void> = Promise.resolve();

  constructor(options: ReplicaOptions) {
    this.#options = options;
    const { history, bodyBytesMax } = options.group.features;
    this.#replication = new Replication({ ...options, history, bodyBytesMax });
    this.#failure.promise.catch(() => {});
    this.#ready.promise.catch(() => {});
  }

  /** Joins; resolves when this member is in the group's view and has its state; rejects when it is stopped before. */
  async start(): Promise<void> {
    const { group, groupName, name } = this.#options;
    this.#membership = await group.join(groupName, name);
    this.#run(this.#membership).catch((error: Error) => {
      this.#failure.reject(error);
      void this.stop();
    });
    await Promise.race([this.#ready.promise, this.#failure.promise]);
  }

  /** Rejects when the machine or `onChange` has thrown: this copy cannot be trusted, and leaves the group. Never resolves. */
  get failed(): Promise<never> {
    return this.#failure.promise;
  }

  /** `undefined` while this member is in no view, or has no state. */
  get view(): View | undefined {
    const view = this.#replication.view;
    return view?.self === undefined ? undefined : view;
  }

  get leadership(): Leadership | undefined {
    return this.#replication.leadership;
  }

  /** The epoch in which this member leads, if it does. */
  get leads(): number | undefined {
    const { leadership, view } = this;
    return leadership !== undefined && leadership.leader.id === view?.self ? leadership.epoch : undefined;
  }

  /**
   * Has all members apply a command, in its place of the order; resolves with what it returned here. With an epoch it counts only if this member leads in that epoch when its place
   * comes, and rejects with a `FencedError` otherwise. Rejects with an `IndefiniteError` where nobody can tell whether it was applied, or what it returned.
   */
  submit(command: Uint8Array, epoch?: number): Promise<unknown> {
    if (this.#membership === undefined) throw new TypeError('submit: start the replica first');
    const number = ++this.#numbers;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const submission: Submission = { epoch, resolve, reject, ordered: false };
    this.#submissions.set(number, submission);
    this.#membership.multicast(encodeCommand({ token: this.#options.token, number }, command, epoch)).then(
      () => (submission.ordered = true),
      (error: Error) => {
        this.#submissions.delete(number);
        reject(error);
      },
    );
    return promise;
  }

  /** Leaves the group. */
  async stop(): Promise<void> {
    await this.#membership?.leave();
    const left = new IndefiniteError('this member has left the group');
    this.#ready.reject(left);
    for (const { reject } of this.#submissions.values()) reject(left);
    this.#submissions.clear();
  }

  async #run(membership: Membership): Promise<void> {
    for await (const event of membership) {
      this.#take(event, membership);
      if (this.view !== undefined) this.#ready.resolve();
      this.#options.onChange?.(this);
    }
  }

  #take(event: GroupEvent, membership: Membership): void {
    if (event.type === 'checkpoint') return event.save(this.#replication.snapshot());
    for (const outcome of this.#replication.handle(event)) this.#act(outcome, membership);
  }

  #act(outcome: Outcome, membership: Membership): void {
    switch (outcome.type) {
      case 'send':
        // If this member is cut off before it arrives, it begins anew.
        return void membership.multicast(outcome.body).catch(() => {});
      case 'sendState':
        return this.#sendState(outcome.bodies, membership);
      case 'restored':
        return this.#forgetOrdered();
      case 'applied':
      case 'fenced': {
        const { token, number } = outcome.id;
        const submission = token === this.#options.token ? this.#submissions.get(number) : undefined;
        if (submission === undefined) return;
        this.#submissions.delete(number);
        if (outcome.type === 'applied') submission.resolve(outcome.result);
        else submission.reject(new FencedError(submission.epoch ?? 0));
      }
    }
  }

  /** One part after the other, so that a large state does not fill the way. If this member is cut off meanwhile, another sends. */
  #sendState(bodies: readonly Buffer[], membership: Membership): void {
    const send = async (): Promise<void> => {
      for (const body of bodies) await membership.multicast(body);
    };
    this.#lastPart = this.#lastPart.then(send).catch(() => {});
  }

  /** What was ordered before the new state began will not be applied here: it is in the state, or was lost with a part of the network. */
  #forgetOrdered(): void {
    for (const [number, { ordered, reject }] of this.#submissions) {
      if (!ordered) continue;
      this.#submissions.delete(number);
      reject(new IndefiniteError('the state was replaced before the answer was known'));
    }
  }
}
