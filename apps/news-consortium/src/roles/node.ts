/** The node: posts, edits, deletes, subscribes, reads and follows news of the areas that it is assigned. It keeps nothing: the database knows all. */
import { answerer, callOf, type Asked } from '../wire/calls.ts';
import type { Service } from '../wire/serving.ts';
import type { Lists } from '../store/lists.ts';
import type { News } from '../store/news.ts';
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

export class Node implements Service {
  readonly #parts: NodeParts;
  readonly answer: Service['answer'];

  constructor(parts: NodeParts) {
    this.#parts = parts;
    const { id, news, lists, tokens, leaseMs, healthy } = parts;
    this.answer = answerer('node', tokens, {
      health: async () => ({ id, healthy: healthy() }),
      areas: (call) => lists.areas(call),
      myAreas: (call) => lists.myAreas(call),
      subscribe: (call) => news.subscribe(call),
      unsubscribe: (call) => news.unsubscribe(call),
      post: (call) => news.post(call),
      edit: (call) => news.edit(call),
      delete: (call) => news.delete(call),
      read: (call) => news.read(call),
      unread: (call) => news.unread(call, leaseMs),
      mark: (call) => news.mark(call),
    });
  }

  stream(asked: Asked, socket: WatcherSocket): Promise<void> | undefined {
    const { request } = asked;
    if (request.kind !== 'watch') return undefined;
    return this.#parts.feeds.watch(callOf({ ...asked, request }, 'node', this.#parts.tokens), socket);
  }
}
