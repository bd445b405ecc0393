/** Keeps HAProxy's servers as discovery lists them, and tells keepalived whether HAProxy can serve. */
import type { Discovery, Instance } from '@lab/discovery';
import { sleep, type Clock, type Logger, type Role } from '@lab/process';
import { canServe, reconcile, type HeldServer, type ListedServer } from '../domain/reconcile.ts';
import { HaproxyError, type RuntimeApi } from '../haproxy.ts';

export interface LbSyncParts {
  /** Resolves with contact to the registry, however long that takes: HAProxy is looked after meanwhile. */
  readonly connect: () => Promise<Discovery>;
  readonly haproxy: Pick<RuntimeApi, 'servers' | 'apply'>;
  /** Services, which are HAProxy's back ends of the same names. */
  readonly services: readonly string[];
  /** Called with each look at HAProxy. */
  readonly tell: (canServe: boolean) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Between two looks at HAProxy. One that was restarted, and has forgotten its servers, has them back after this; and the other balancer takes over that much
 * after this one's HAProxy cannot serve. A look costs both less than a millisecond.
 */
const lookMs = 200;

export class LbSync implements Role {
  readonly failed: Promise<never>;
  readonly #parts: LbSyncParts;
  /** As they were listed last, whether there is contact or not: without it nothing changes. */
  readonly #listed = new Map<string, readonly ListedServer[]>();
  readonly #fail: (error: unknown) => void;
  readonly #stopping = Promise.withResolvers<void>();
  #discovery: Discovery | undefined;
  #stopped = false;
  #looking: Promise<void> = Promise.resolve();
  /** When each server that does not pass its checks was first seen so. */
  #downSince: ReadonlyMap<string, number> = new Map();
  #couldServe: boolean | undefined;
  /** Of this look, and of the one before. */
  #complaints = new Set<string>();
  #lastComplaints: ReadonlySet<string> = new Set();

  constructor(parts: LbSyncParts) {
    this.#parts = parts;
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => undefined);
    this.failed = failed.promise;
    this.#fail = failed.reject;
  }

  async start(): Promise<void> {
    this.#looking = this.#keepLooking();
    this.#followAll().catch(this.#fail);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopping.resolve();
    await this.#looking;
    await this.#discovery?.close();
  }

  async #followAll(): Promise<void> {
    const { connect, services } = this.#parts;
    const discovery = await connect();
    if (this.#stopped) return discovery.close();
    this.#discovery = discovery;
    await Promise.all(services.map((service) => this.#follow(discovery, service)));
  }

  async #follow(discovery: Discovery, service: string): Promise<void> {
    const { log } = this.#parts;
    for await (const instances of discovery.watch(service)) {
      const servers = instances.map(listedServer);
      const usable = servers.filter((server) => server !== undefined);
      log.info({ service, servers: usable.map(({ name, address, port }) => `${name} ${address}:${port}`) }, 'listed');
      if (usable.length < servers.length) log.warn({ service, instances }, 'some have no usable name, address or port');
      this.#listed.set(service, usable);
    }
  }

  async #keepLooking(): Promise<void> {
    while (!this.#stopped) {
      await this.#look().catch((error: unknown) => this.#parts.log.error({ err: error }, 'cannot tell keepalived'));
      await Promise.race([sleep(this.#parts.clock, lookMs), this.#stopping.promise]);
    }
  }

  async #look(): Promise<void> {
    const { haproxy, services, tell, log } = this.#parts;
    this.#lastComplaints = this.#complaints;
    this.#complaints = new Set();
    const held = await haproxy.servers().catch((error: unknown) => this.#complain({ err: error }, 'HAProxy does not answer'));
    const serves = held !== undefined && canServe(held, services);
    await tell(serves);
    if (serves !== this.#couldServe) log.info({}, serves ? 'HAProxy can serve' : 'HAProxy cannot serve');
    this.#couldServe = serves;
    if (held !== undefined) await this.#apply(held);
  }

  /** What is still to be done shows at the next look. */
  async #apply(held: readonly HeldServer[]): Promise<void> {
    const { haproxy, log, clock } = this.#parts;
    const nowMs = clock.nowMs();
    const down = held.filter(({ state }) => state !== 'up').map(keyOf);
    this.#downSince = new Map(down.map((key) => [key, this.#downSince.get(key) ?? nowMs]));
    const downMs = (server: HeldServer): number => nowMs - (this.#downSince.get(keyOf(server)) ?? nowMs);
    for (const change of reconcile(held, this.#listed, downMs)) {
      try {
        await haproxy.apply(change);
        log.info(change, 'changed');
      } catch (error) {
        this.#complain({ ...change, err: error }, 'not changed');
        if (!(error instanceof HaproxyError && error.answered)) return;
      }
    }
  }

  /** Of each thing once, and not five times a second, as long as it goes on. */
  #complain(fields: { err: unknown }, words: string): undefined {
    const complaint = `${words}: ${String(fields.err)}`;
    if (!this.#lastComplaints.has(complaint)) this.#parts.log.warn(fields, words);
    this.#complaints.add(complaint);
  }
}

const keyOf = ({ backend, name }: HeldServer): string => `${backend}/${name}`;

/** As HAProxy writes it, too: without zeros in front. */
const octet = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const ipv4 = new RegExp(`^${octet}(\\.${octet}){3}$`);

/** What is announced comes from another machine, and HAProxy takes commands as text. */
function listedServer({ sequence, endpoint }: Instance): ListedServer | undefined {
  const { name, address, port } = endpoint;
  if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name)) return undefined;
  if (typeof address !== 'string' || !ipv4.test(address)) return undefined;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  return { name, address, port, sequence };
}
