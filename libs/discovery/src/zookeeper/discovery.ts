/**
 * The adapter for ZooKeeper. Below its root: `services/<service>/<nonce>-<sequence>` for each that is announced, `roles/<role>/<nonce>-<sequence>` for each candidate, and
 * `records/<name>`.
 */
import type {
  AnnounceOptions,
  Announcement,
  Discovery,
  Endpoint,
  Instance,
  Leadership,
  RecordState,
  SharedRecord,
} from '../port.ts';
import { encodeEndpoint, validateName } from '../validate.ts';
import { Candidacy } from './candidacy.ts';
import { normalizeOptions, type NormalOptions, type ZookeeperOptions } from './options.ts';
import { OwnNode } from './own-node.ts';
import { recordReader, ZookeeperRecord } from './record.ts';
import { serviceReader } from './service.ts';
import { Session } from './session.ts';
import { View } from './view.ts';

/**
 * Connects to ZooKeeper 3.5 or newer. Resolves when there is a session; as long as there is none it waits, and says so in its log, and fails with `UnavailableError` after
 * `connectTimeoutMs`.
 */
export async function connectZookeeper(options: ZookeeperOptions): Promise<Discovery> {
  const discovery = new ZookeeperDiscovery(normalizeOptions(options));
  try {
    await discovery.start();
  } catch (error) {
    await discovery.close();
    throw error;
  }
  return discovery;
}

interface Announced {
  service: string;
  node: OwnNode;
  sequence: number;
  onRenewed: ((sequence: number) => void) | undefined;
}

class ZookeeperDiscovery implements Discovery {
  readonly #options: NormalOptions;
  readonly #session: Session;
  readonly #announced = new Set<Announced>();
  readonly #candidacies = new Set<Candidacy>();
  readonly #services = new Map<string, View<readonly Instance[]>>();
  readonly #records = new Map<string, View<RecordState>>();
  #sessionNumber = 0;

  constructor(options: NormalOptions) {
    this.#options = options;
    this.#session = new Session(options, { onContact: () => this.#onContact(), onFence: () => this.#onFence() });
  }

  start(): Promise<void> {
    return this.#session.start();
  }

  async announce(service: string, endpoint: Endpoint, { onRenewed }: AnnounceOptions = {}): Promise<Announcement> {
    validateName('service', service);
    const node = new OwnNode(this.#session, this.#path('services', service), encodeEndpoint(service, endpoint));
    const announced = { service, node, sequence: await this.#place(service, node), onRenewed };
    this.#announced.add(announced);
    return {
      get sequence() {
        return announced.sequence;
      },
      withdraw: async () => {
        this.#announced.delete(announced);
        await node.remove();
      },
    };
  }

  async list(service: string): Promise<readonly Instance[]> {
    return (await this.#service(service).fresh()) ?? [];
  }

  watch(service: string): AsyncIterableIterator<readonly Instance[]> {
    return this.#service(service).watch();
  }

  async elect(role: string, name: string, { signal }: { signal?: AbortSignal } = {}): Promise<Leadership> {
    validateName('role', role);
    const candidacy = new Candidacy(this.#session, this.#path('roles', role), name);
    this.#candidacies.add(candidacy);
    try {
      const leadership = await candidacy.win(signal);
      void leadership.lost.then(() => this.#candidacies.delete(candidacy));
      return leadership;
    } catch (error) {
      this.#candidacies.delete(candidacy);
      throw error;
    }
  }

  record(name: string): SharedRecord {
    validateName('record', name);
    const path = this.#path('records', name);
    const view = this.#view(
      this.#records,
      name,
      () => new View(`record "${name}"`, this.#session, this.#options.log, recordReader(path)),
    );
    return new ZookeeperRecord(name, path, this.#session, view);
  }

  async close(): Promise<void> {
    this.#onFence();
    const closed = this.#session.close();
    for (const view of this.#views()) view.end();
    await closed;
  }

  #onContact(): void {
    for (const view of this.#views()) void view.refresh();
    const isNew = this.#sessionNumber !== this.#session.number;
    this.#sessionNumber = this.#session.number;
    if (isNew) for (const announced of this.#announced) void this.#renew(announced);
  }

  #onFence(): void {
    for (const candidacy of this.#candidacies) candidacy.fence();
  }

  /** Announces; resolves with the sequence. When that cannot be done in time, nothing stays behind. */
  async #place(service: string, node: OwnNode): Promise<number> {
    try {
      const place = await this.#session.run(`to announce "${service}"`, (connection) => node.place(connection));
      return place!.sequence;
    } catch (error) {
      void node.remove();
      throw error;
    }
  }

  async #renew(announced: Announced): Promise<void> {
    const { service, node, sequence, onRenewed } = announced;
    const what = `to announce "${service}" again`;
    const place = await this.#session
      .run(what, (connection) => node.place(connection), Infinity)
      .catch((error: unknown) => {
        if (!this.#session.closed) this.#options.log.error({ err: error }, `cannot ${what.slice(3)}`);
      });
    // It was withdrawn meanwhile, or the next session's renewal was faster.
    if (!place || !this.#announced.has(announced) || announced.sequence !== sequence) return;
    announced.sequence = place.sequence;
    onRenewed?.(place.sequence);
  }

  #service(name: string): View<readonly Instance[]> {
    validateName('service', name);
    const path = this.#path('services', name);
    return this.#view(
      this.#services,
      name,
      () => new View(`service "${name}"`, this.#session, this.#options.log, serviceReader(path)),
    );
  }

  #view<Value>(views: Map<string, View<Value>>, name: string, make: () => View<Value>): View<Value> {
    const found = views.get(name) ?? make();
    views.set(name, found);
    return found;
  }

  #views(): (View<readonly Instance[]> | View<RecordState>)[] {
    return [...this.#services.values(), ...this.#records.values()];
  }

  #path(kind: 'services' | 'roles' | 'records', name: string): string {
    return `${this.#options.root}/${kind}/${name}`;
  }
}
