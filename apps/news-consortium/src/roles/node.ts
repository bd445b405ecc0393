/** The node: posts, deletes, subscribes, reads and follows news of the areas that it is assigned. It keeps nothing: the database knows all. */
import type { Kind, Replies, Request } from '../messages.ts';
import { Refusal } from '../wire/refusal.ts';
import type { Call, Service } from '../wire/serving.ts';
import type { Lists } from '../store/lists.ts';
import type { Access, News } from '../store/news.ts';
import { hashOf, type Keyed, type KeyedRequest } from '../store/once.ts';
import type { Tokens } from '../wire/tokens.ts';
import type { Feeds, WatcherSocket } from './feeds.ts';

export interface NodeParts {
  readonly id: string;
  readonly news: News;
  readonly lists: Lists;
  readonly feeds: Feeds;
  readonly tokens: Tokens;
  /** How long unread items are held for a reader. */
  readonly leaseMs: number;
  /** Whether the database answers. */
  readonly healthy: () => boolean;
}

type Handlers = { [K in Kind]?: (call: Call<Request<K>>) => Promise<Replies[K]> };

export class Node implements Service {
  readonly #parts: NodeParts;
  readonly #handlers: Handlers = {
    health: () => Promise.resolve({ id: this.#parts.id, healthy: this.#parts.healthy() }),
    areas: ({ request, deadline }) => this.#parts.lists.areas(this.#session(request.token), request.after, deadline),
    myAreas: ({ request, deadline }) => this.#parts.lists.myAreas(this.#session(request.token), request, deadline),
    subscribe: ({ request, deadline }) => this.#parts.news.subscribe(this.#keyed(request), request.area, deadline),
    unsubscribe: ({ request, deadline }) => this.#parts.news.unsubscribe(this.#keyed(request), request.area, deadline),
    post: ({ request, deadline }) => this.#parts.news.post(this.#access(request), request, deadline),
    delete: ({ request, deadline }) => this.#parts.news.delete(this.#access(request), request.number, deadline),
    read: ({ request, deadline }) => this.#parts.news.read(this.#access(request), request, deadline),
    unread: ({ request, deadline }) =>
      this.#parts.news.unread(this.#access(request), { limit: request.limit, leaseMs: this.#parts.leaseMs }, deadline),
    mark: ({ request, deadline }) => this.#parts.news.mark(this.#access(request), request.numbers, deadline),
  };

  constructor(parts: NodeParts) {
    this.#parts = parts;
  }

  answer(call: Call): Promise<object> {
    const handler = this.#handlers[call.request.kind] as ((call: Call) => Promise<object>) | undefined;
    if (handler === undefined) throw new Refusal('malformed', `${call.request.kind} is for an agent, and this is a node`);
    return handler(call);
  }

  stream({ request, deadline }: Call, socket: WatcherSocket): Promise<void> | undefined {
    if (request.kind !== 'watch') return undefined;
    return this.#parts.feeds.watch(this.#access(request), request.after, socket, deadline);
  }

  #session(token: string): string {
    return this.#parts.tokens.check('session', token);
  }

  #keyed(request: KeyedRequest & { token: string }): Keyed {
    return { session: this.#session(request.token), key: request.key, hash: hashOf(request) };
  }

  #access({ token, area }: { token: string; area: string }): Access {
    return { session: this.#session(token), area };
  }
}
