import type { Clock } from '@lab/process/time';
import { callMs, fenceMs } from '../timing.ts';
import { Latest } from '../latest.ts';
import {
  UnavailableError,
  type AnnounceOptions,
  type Announcement,
  type Discovery,
  type Endpoint,
  type Instance,
  type Leadership,
  type RecordState,
  type SharedRecord,
} from '../port.ts';
import { encodeEndpoint, validateName, validateText } from '../validate.ts';
import { MemorySession, type MemoryRole, type Observed, type RegistryState, type Thing } from './state.ts';

export interface MemoryConnectionOptions {
  state: RegistryState;
  clock: Pick<Clock, 'after'>;
  sessionTimeoutMs: number;
}

/** A call that waits for contact. */
interface Pending {
  run: () => void;
  fail: (error: Error) => void;
  cancelDeadline: () => void;
}

interface Announced {
  service: string;
  json: string;
  sequence: number;
  thing: Thing;
  onRenewed: ((sequence: number) => void) | undefined;
}

interface Candidacy {
  role: MemoryRole;
  /** Its place in the line of the present session. */
  place: Thing | undefined;
  /** Called when it is first. */
  onFirst: () => void;
  won: PromiseWithResolvers<Leadership>;
  /** While it leads. */
  lost: PromiseWithResolvers<void> | undefined;
  stopListening: () => void;
}

interface Subscription {
  refresh: () => void;
  end: () => void;
  /** Nothing is shown, and nothing is told, from now on. */
  forget: () => void;
}

/** What a dead process gets. */
const never = (): Promise<never> => new Promise(() => undefined);

/** One process' connection to a memory registry. All that it answers comes by promises, never by the event loop. */
export class MemoryConnection implements Discovery {
  readonly #options: MemoryConnectionOptions;
  #session = new MemorySession();
  #contact: 'whole' | 'cut' | 'crashed' | 'closed' = 'whole';
  #cancelTimers = (): void => undefined;
  readonly #pending = new Set<Pending>();
  readonly #announced = new Set<Announced>();
  readonly #candidacies = new Set<Candidacy>();
  readonly #subscriptions = new Set<Subscription>();
  /** Given up while cut off: they leave the registry at the next contact, or with the session. */
  readonly #leaving = new Map<Thing, PromiseWithResolvers<void>>();

  constructor(options: MemoryConnectionOptions) {
    this.#options = options;
  }

  async announce(service: string, endpoint: Endpoint, { onRenewed }: AnnounceOptions = {}): Promise<Announcement> {
    validateName('service', service);
    const json = encodeEndpoint(service, endpoint);
    const announced = await this.#call(`announce "${service}"`, () => {
      const placed = this.#options.state.service(service).announce(this.#session, json);
      const announced: Announced = { service, json, onRenewed, ...placed };
      this.#announced.add(announced);
      return announced;
    });
    return {
      get sequence() {
        return announced.sequence;
      },
      withdraw: async () => {
        if (this.#contact === 'crashed') return never();
        this.#announced.delete(announced);
        await this.#leave(announced.thing);
      },
    };
  }

  async list(service: string): Promise<readonly Instance[]> {
    validateName('service', service);
    await this.#call(`list "${service}"`, () => undefined);
    // Read last: on its way through promises a watch would overtake it.
    return this.#options.state.service(service).value();
  }

  watch(service: string): AsyncIterableIterator<readonly Instance[]> {
    validateName('service', service);
    return this.#subscribe(this.#options.state.service(service));
  }

  async elect(role: string, _name: string, { signal }: { signal?: AbortSignal } = {}): Promise<Leadership> {
    validateName('role', role);
    signal?.throwIfAborted();
    if (this.#contact === 'crashed') return never();
    if (this.#contact === 'closed') throw this.#closed(`elect "${role}"`);
    const abort = (): void => void this.#abort(candidacy, signal?.reason);
    const candidacy: Candidacy = {
      role: this.#options.state.role(role),
      place: undefined,
      onFirst: () => this.#lead(candidacy),
      won: Promise.withResolvers(),
      lost: undefined,
      stopListening: () => signal?.removeEventListener('abort', abort),
    };
    signal?.addEventListener('abort', abort, { once: true });
    this.#candidacies.add(candidacy);
    this.#enter(candidacy);
    return candidacy.won.promise;
  }

  record(name: string): SharedRecord {
    validateName('record', name);
    const record = this.#options.state.record(name);
    return {
      read: () => this.#call(`read "${name}"`, () => record.value()),
      write: async (text, version) => {
        validateText(name, text);
        return this.#call(`write "${name}"`, () => record.write(text, version));
      },
      watch: (): AsyncIterableIterator<RecordState> => this.#subscribe(record),
    };
  }

  async close(): Promise<void> {
    if (this.#contact === 'crashed') return never();
    if (this.#contact === 'closed') return;
    const whole = this.#contact === 'whole';
    this.#contact = 'closed';
    const closed = this.#closed('waiting');
    for (const candidacy of this.#candidacies) this.#endCandidacy(candidacy, closed);
    for (const { fail } of this.#pending) fail(closed);
    for (const { end } of this.#subscriptions) end();
    this.#announced.clear();
    // What was given up while cut off leaves with the session, in its own time.
    if (whole) this.#session.end();
  }

  /** See `MemoryRegistry`. */
  cut(): void {
    if (this.#contact !== 'whole') return;
    this.#contact = 'cut';
    const { clock, sessionTimeoutMs } = this.#options;
    const cancelFence = clock.after(fenceMs(sessionTimeoutMs), () => this.#fence());
    const cancelExpiry = clock.after(sessionTimeoutMs, () => this.#expire());
    this.#cancelTimers = () => (cancelFence(), cancelExpiry());
  }

  /** See `MemoryRegistry`. */
  heal(): void {
    if (this.#contact !== 'cut') return;
    this.#contact = 'whole';
    this.#cancelTimers();
    this.#letLeave();
    if (this.#session.ended) this.#renew();
    for (const { run } of this.#pending) run();
    for (const candidacy of this.#candidacies) this.#enter(candidacy);
    for (const { refresh } of this.#subscriptions) refresh();
  }

  /** See `MemoryRegistry`. */
  crash(): void {
    const { clock, sessionTimeoutMs } = this.#options;
    if (this.#contact === 'whole') clock.after(sessionTimeoutMs, () => this.#session.end());
    if (this.#contact === 'closed') return;
    this.#contact = 'crashed';
    for (const { cancelDeadline } of this.#pending) cancelDeadline();
    for (const { forget } of this.#subscriptions) forget();
    for (const { stopListening } of this.#candidacies) stopListening();
    for (const waiting of [this.#pending, this.#announced, this.#candidacies, this.#subscriptions]) waiting.clear();
  }

  /** Runs now, or at the next contact; fails when there was none within the deadline. */
  #call<Result>(what: string, run: () => Result): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    if (this.#contact === 'closed') reject(this.#closed(what));
    if (this.#contact === 'whole') resolve(run());
    if (this.#contact !== 'cut') return promise;
    const { clock, sessionTimeoutMs } = this.#options;
    const finish = (settle: () => void): void => {
      this.#pending.delete(pending);
      pending.cancelDeadline();
      settle();
    };
    const limitMs = callMs(sessionTimeoutMs);
    const late = (): void => pending.fail(new UnavailableError(`${what}: no contact to the registry for ${limitMs} ms`));
    const pending: Pending = {
      run: () => finish(() => resolve(run())),
      fail: (error) => finish(() => reject(error)),
      cancelDeadline: clock.after(limitMs, late),
    };
    this.#pending.add(pending);
    return promise;
  }

  #closed(what: string): UnavailableError {
    return new UnavailableError(`${what}: this connection to the memory registry is closed`);
  }

  /** Resolves when the thing has left the registry. */
  #leave(thing: Thing): Promise<void> {
    const left = this.#leaving.get(thing) ?? Promise.withResolvers<void>();
    if (this.#contact === 'whole') thing.remove();
    if (this.#contact === 'whole' || this.#session.ended) left.resolve();
    else this.#leaving.set(thing, left);
    return left.promise;
  }

  #letLeave(): void {
    for (const [thing, left] of this.#leaving) {
      thing.remove();
      left.resolve();
    }
    this.#leaving.clear();
  }

  #expire(): void {
    this.#session.end();
    if (this.#contact !== 'crashed') this.#letLeave();
  }

  #renew(): void {
    this.#session = new MemorySession();
    for (const announced of this.#announced) {
      const { service, json, onRenewed } = announced;
      const { sequence, thing } = this.#options.state.service(service).announce(this.#session, json);
      Object.assign(announced, { sequence, thing });
      if (onRenewed) queueMicrotask(() => onRenewed(sequence));
    }
    for (const candidacy of this.#candidacies) candidacy.place = undefined;
  }

  /** Takes a place in the line, if it has none, and leads if that is the first. */
  #enter(candidacy: Candidacy): void {
    if (this.#contact !== 'whole') return;
    candidacy.place ??= candidacy.role.enter(this.#session, candidacy.onFirst);
    if (candidacy.role.isFirst(candidacy.onFirst)) this.#lead(candidacy);
  }

  #lead(candidacy: Candidacy): void {
    if (this.#contact !== 'whole' || this.#session.ended || !this.#candidacies.has(candidacy) || candidacy.lost) return;
    candidacy.lost = Promise.withResolvers();
    candidacy.stopListening();
    candidacy.won.resolve({
      epoch: candidacy.role.raiseEpoch(),
      lost: candidacy.lost.promise,
      resign: () => this.#resign(candidacy),
    });
  }

  async #resign(candidacy: Candidacy): Promise<void> {
    if (this.#contact === 'crashed') return never();
    this.#candidacies.delete(candidacy);
    candidacy.lost?.resolve();
    if (candidacy.place) await this.#leave(candidacy.place);
  }

  async #abort(candidacy: Candidacy, reason: unknown): Promise<void> {
    this.#candidacies.delete(candidacy);
    if (candidacy.place) await this.#leave(candidacy.place);
    candidacy.won.reject(reason);
  }

  /** Leaderships end by this side's own clock, before the registry ends the session. */
  #fence(): void {
    for (const candidacy of this.#candidacies) if (candidacy.lost) void this.#resign(candidacy);
  }

  #endCandidacy(candidacy: Candidacy, error: Error): void {
    this.#candidacies.delete(candidacy);
    candidacy.stopListening();
    candidacy.lost?.resolve();
    candidacy.won.reject(error);
  }

  /** What is observed now, if there is anything, and then each change that is seen. */
  #subscribe<Value>(observed: Observed<Value>): AsyncIterableIterator<Value> {
    let shown = -1;
    const latest = new Latest<Value>(() => this.#subscriptions.delete(subscription) && stopObserving());
    const refresh = (): void => {
      const value = observed.value();
      if (this.#contact !== 'whole' || value === undefined || observed.revision === shown) return;
      shown = observed.revision;
      latest.push(value);
    };
    const stopObserving = observed.observe(refresh);
    const subscription = { refresh, end: () => latest.end(), forget: stopObserving };
    this.#subscriptions.add(subscription);
    if (this.#contact === 'closed') latest.end();
    else refresh();
    return latest;
  }
}
