/** The parts that `makeMemoryGroups` is made of, with cables that can be cut, on a clock of the test's own. */
import { makeMemoryRegistry, type Discovery, type MemoryRegistry } from '@lab/discovery';
import { makeMemoryServer, type Broker, type MemoryServer } from '@lab/middleware';
import { eventually, FakeClock } from '@lab/testing';
import { makeLogGroup, type Group } from '../src/index.ts';
import { Cable } from './cable.ts';
import { randomToken } from './token.ts';

export interface MemoryProcess {
  readonly group: Group;
  readonly broker: Broker;
  readonly discovery: Discovery;
  /** To the broker. */
  readonly cable: Cable;
}

export class MemoryWorld {
  readonly clock = new FakeClock();
  readonly server: MemoryServer = makeMemoryServer();
  readonly registry: MemoryRegistry = makeMemoryRegistry({ clock: this.clock, sessionTimeoutMs: 1_500 });
  readonly #processes = new Map<Group, MemoryProcess>();

  connect(): MemoryProcess {
    const [broker, discovery, cable] = [this.server.connect(), this.registry.connect(), new Cable()];
    const group = makeLogGroup({ broker: cable.wrap(broker), discovery, clock: this.clock, newToken: randomToken });
    const process = { group, broker, discovery, cable };
    this.#processes.set(group, process);
    return process;
  }

  of(group: Group): MemoryProcess {
    return this.#processes.get(group)!;
  }

  kill(group: Group): void {
    const { broker, discovery, cable } = this.of(group);
    this.#processes.delete(group);
    cable.cut();
    this.server.kill(broker);
    this.registry.crash(discovery);
  }

  /** Less than a tenth of a session. */
  passTime(): Promise<void> {
    return this.clock.advanceAsync(50);
  }

  until(probe: () => boolean): Promise<boolean> {
    return eventually(async () => (await this.passTime(), probe()), { intervalMs: 0 });
  }

  async stop(): Promise<void> {
    for (const { broker, discovery } of this.#processes.values()) await Promise.all([broker.close(), discovery.close()]);
  }
}
