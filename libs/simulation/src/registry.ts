/**
 * ZooKeeper as its clients live with it: calls come late or not at all, answers are lost with the contact, sessions end when their process dies, hangs or is cut off for long, and news is old when it comes. It stands over
 * the memory registry, whose contract is that of the real one. What is asked for is asked once: the adapter sends nothing again whose answer was lost before it has looked.
 */
import {
  makeMemoryRegistry,
  type AnnounceOptions,
  type Announcement,
  type Discovery,
  type Endpoint,
  type Instance,
  type Leadership,
  type MemoryRegistry,
  type RecordState,
  type SharedRecord,
} from '@lab/discovery';
import { sleep } from '@lab/process';
import { atOf } from './faults.ts';
import type { Life, World } from './world.ts';

export class SimulatedRegistry {
  readonly #world: World;
  readonly #registry: MemoryRegistry;

  constructor(world: World, sessionTimeoutMs: number) {
    this.#world = world;
    this.#registry = makeMemoryRegistry({ clock: world.clock, sessionTimeoutMs });
  }

  /** A session for this life: it crashes with it, and gives no sign of life while it stands still. */
  connect(life: Life): Discovery {
    return new Connection(life, this.#world, this.#registry);
  }
}

class Connection implements Discovery {
  readonly #life: Life;
  readonly #world: World;
  readonly #registry: MemoryRegistry;
  readonly #inner: Discovery;
  #healMs = 0;

  constructor(life: Life, world: World, registry: MemoryRegistry) {
    this.#life = life;
    this.#world = world;
    this.#registry = registry;
    this.#inner = registry.connect();
    life.onEnd(() => registry.crash(this.#inner));
    life.onPause((forMs) => this.#cut(forMs));
  }

  #cut(forMs: number): void {
    const { clock } = this.#world;
    this.#healMs = Math.max(this.#healMs, clock.nowMs() + forMs);
    this.#registry.cut(this.#inner);
    clock.after(forMs, () => {
      if (clock.nowMs() < this.#healMs) return;
      this.#registry.heal(this.#inner);
      this.#world.touch();
    });
  }

  /** Whether contact is lost here. */
  #isCutAt(place: string, message = ''): boolean {
    const cutMs = this.#life.strikes('cut from registry', place, message);
    if (cutMs !== undefined) this.#cut(cutMs);
    return cutMs !== undefined;
  }

  /** `onLost` is for an answer that is lost with the contact. */
  #call<T>(
    [operation, subject, message]: readonly [operation: string, subject: string, message: string],
    run: () => Promise<T>,
    onLost: (result: T) => Promise<unknown> = () => Promise.resolve(),
  ): Promise<T> {
    return this.#life.call(
      operation,
      subject,
      () => message,
      async (place) => {
        this.#isCutAt(place, message);
        const result = await run();
        if (this.#isCutAt(`${place} answered`, message)) await onLost(result);
        return result;
      },
    );
  }

  /** Resolves with the next contact; an `UnavailableError` where that takes too long. */
  readonly #contact = (): Promise<unknown> => this.#inner.list('contact');

  async announce(service: string, endpoint: Endpoint, { onRenewed }: AnnounceOptions = {}): Promise<Announcement> {
    const renewed = (sequence: number): void => void this.#life.awake().then(() => onRenewed?.(sequence));
    const announcement = await this.#call(
      ['announce', service, JSON.stringify(endpoint)],
      () => this.#inner.announce(service, endpoint, { onRenewed: renewed }),
      (made) =>
        this.#contact().catch((error: unknown) => {
          void made.withdraw();
          throw error;
        }),
    );
    return {
      get sequence() {
        return announcement.sequence;
      },
      withdraw: () => this.#call(['withdraw', service, ''], () => announcement.withdraw()),
    };
  }

  list(service: string): Promise<readonly Instance[]> {
    return this.#call(['list', service, ''], () => this.#inner.list(service), this.#contact);
  }

  watch(service: string): AsyncIterableIterator<readonly Instance[]> {
    const fresh = (): Promise<readonly Instance[]> => this.#inner.list(service);
    const text = (instances: readonly Instance[]): string => instances.map(({ sequence }) => sequence).join(' ');
    return this.#news(service, this.#inner.watch(service), text, fresh);
  }

  async elect(role: string, name: string, options?: { signal?: AbortSignal }): Promise<Leadership> {
    const led = await this.#call(['elect', role, name], () => this.#inner.elect(role, name, options));
    return {
      epoch: led.epoch,
      lost: led.lost.then(() => this.#life.awake()),
      resign: () => this.#call(['resign', role, name], () => led.resign()),
    };
  }

  record(name: string): SharedRecord {
    const record = this.#inner.record(name);
    return {
      read: () => this.#call(['read', name, ''], () => record.read(), this.#contact),
      write: (text, version) => this.#call(['write', name, text], () => record.write(text, version), this.#contact),
      watch: () => this.#news(name, record.watch(), ({ text }: RecordState) => text),
    };
  }

  /** `fresh` is what is so by the time that late news comes. */
  #news<T>(
    name: string,
    source: AsyncIterableIterator<T>,
    textOf: (news: T) => string,
    fresh?: () => Promise<T>,
  ): AsyncIterableIterator<T> {
    const { name: role, number } = this.#life;
    const next = async (): Promise<IteratorResult<T>> => {
      const result = await source.next();
      if (result.done === true) return result;
      let { value } = result;
      const place = this.#life.place('news', name);
      const lateMs = this.#life.strikes('delivered late', place, textOf(value));
      if (lateMs !== undefined) await sleep(this.#life.clock, lateMs);
      await this.#life.awake();
      if (lateMs !== undefined && fresh !== undefined) value = await fresh().catch(() => value);
      const message = textOf(value);
      this.#world.emit(() => ({
        type: 'delivery',
        role,
        life: number,
        from: name,
        message,
        redelivered: false,
        at: atOf(place),
      }));
      const deathMs = this.#life.strikes('dies before', place, message);
      if (deathMs !== undefined) this.#life.die(deathMs);
      this.#isCutAt(place, message);
      await this.#life.awake();
      return { done: false, value };
    };
    return {
      next,
      return: () => source.return!(),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
