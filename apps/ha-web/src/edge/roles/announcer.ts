/**
 * The announcer: makes this machine's web servers known to discovery while they answer, so that balancers find them.
 *
 * A server is announced when its `/health` says that it can serve, and withdrawn at once when it says that it cannot (it drains), or when it has been silent for a
 * while. Whoever stops the machine MUST stop the announcer first: its end withdraws both BEFORE they drain.
 *
 * One that is killed leaves its announcements behind until its session times out, and its successor announces the same address again beside them. So whoever
 * reads discovery MUST take several instances with one address and port for one server, which is there as long as any of them is.
 */
import { UnavailableError, type Announcement, type Discovery } from '@lab/discovery';
import type { Clock, Logger, Role } from '@lab/process';

/** What a server says of itself: that it can serve, that it cannot, or nothing in time. */
export type Health = 'serving' | 'refusing' | 'silent';

export interface AnnouncedServer {
  /** In discovery: `web-servers`, `api-servers`. */
  service: string;
  port: number;
  /** MUST resolve within a second, whatever the server does. */
  health(): Promise<Health>;
}

export interface AnnouncerOptions {
  discovery: Discovery;
  /** Where balancers find the machine. */
  address: string;
  /** Of the machine, for people. */
  name: string;
  servers: readonly AnnouncedServer[];
  clock: Clock;
  log: Logger;
}

/** As often as the balancers' own checks. */
const checkMs = 250;
/** One silent check is a busy machine. Until this the balancers' checks keep requests away, and after it the machine is off their list. */
const silentMs = 2_000;

export class Announcer implements Role {
  readonly #options: AnnouncerOptions;
  readonly #watches: readonly Watch[];
  #stopChecking: (() => void) | undefined;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    this.#watches = options.servers.map((server) => new Watch(server, options));
  }

  async start(): Promise<void> {
    this.#stopChecking = this.#options.clock.every(checkMs, () => {
      for (const watch of this.#watches) void watch.check();
    });
  }

  async stop(): Promise<void> {
    this.#stopChecking?.();
    await Promise.all(this.#watches.map((watch) => watch.end()));
  }
}

/** One server of the machine. */
class Watch {
  readonly #server: AnnouncedServer;
  readonly #options: AnnouncerOptions;
  #announcement: Announcement | undefined;
  #servedMs = 0;
  #isEnding = false;
  /** The check that is under way. */
  #check: Promise<void> | undefined;

  constructor(server: AnnouncedServer, options: AnnouncerOptions) {
    this.#server = server;
    this.#options = options;
  }

  async check(): Promise<void> {
    if (this.#check !== undefined || this.#isEnding) return;
    this.#check = this.#follow().finally(() => (this.#check = undefined));
    await this.#check;
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#check;
    await this.#withdraw('the machine stops');
  }

  async #follow(): Promise<void> {
    const { clock } = this.#options;
    const health = await this.#server.health();
    if (health === 'serving') {
      this.#servedMs = clock.nowMs();
      if (!this.#isEnding) await this.#announce();
    } else if (health === 'refusing') await this.#withdraw('it says that it cannot serve');
    else if (clock.nowMs() - this.#servedMs >= silentMs) await this.#withdraw('it does not answer');
  }

  async #announce(): Promise<void> {
    if (this.#announcement !== undefined) return;
    const { discovery, address, name, log } = this.#options;
    const { service, port } = this.#server;
    try {
      this.#announcement = await discovery.announce(service, { address, port, name });
      log.info({ service, address, port }, 'announced');
    } catch (error) {
      // Nothing of it stays behind; the next check tries again.
      if (!(error instanceof UnavailableError)) throw error;
      log.warn({ service, err: error }, 'not announced yet');
    }
  }

  async #withdraw(reason: string): Promise<void> {
    const announcement = this.#announcement;
    if (announcement === undefined) return;
    this.#announcement = undefined;
    await announcement.withdraw();
    this.#options.log.info({ service: this.#server.service, reason }, 'withdrawn');
  }
}
