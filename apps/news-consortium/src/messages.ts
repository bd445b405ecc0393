/**
 * The wire contract between client, agent and node: a frame of libs/protocol holds one JSON object in UTF-8. A request has its `kind` and the
 * milliseconds that it may take; a reply is `{"ok": …}` or `{"error": {"code", "message", …}}`. Replies come in the order of the requests. What may be
 * asked twice after a lost answer, may be: keys make the repeats of one request known.
 */
import { z } from 'zod';
import { textBytesMax } from './domain/names.ts';
import { id, key, nameAmong, noNames, number, password, text, token, type NameSchema } from './wire/fields.ts';

/** A page of news is 100 items of 16 KiB, in JSON at most twice that. */
export const replyBytesMax = 4 * 1024 * 1024;
/** All fields of a request but the text of a post have less than 8 KiB together; a text has 16 KiB, in JSON at most twice that. */
export const requestBytesMax = { toAgent: 8 * 1024, toNode: 8 * 1024 + 2 * textBytesMax };
/** Items in one reply. */
export const pageItemsMax = 100;
/** Areas in one reply: of `status` each may name 100 nodes, with addresses of 262 characters. */
export const pageAreasMax = 100;
/** What is unread in an area is counted up to here. */
export const unreadCountMax = 100;
/** News and subscriptions of a removed area are counted up to here. */
export const removedCountMax = 1_000;
/** Items of an area that were offered to a user and are not marked, at the most: until some are, no others are offered. */
export const offersMax = 1_000;
/** Nobody waits longer for one answer; whoever has more patience asks again. */
export const deadlineMsMax = 30_000;

const limit = z.int().min(1).max(pageItemsMax);
/** As many nodes as anybody has. */
export const nodesMax = 100;
const nodes = z.int().min(1).max(nodesMax, `an area is served by 1 to ${nodesMax} nodes`);
const port = z.int().min(1).max(65_535);

export const requestShapes = (user: NameSchema, area: NameSchema) => ({
  // To any agent.
  register: { name: user, password, key },
  login: { name: user, password, key },
  logout: { token },
  /** Which nodes serve an area, in the order of chance; without an area, all of them. */
  where: { area: area.optional() },
  addArea: { token, area, nodes, key },
  setArea: { token, area, nodes, key },
  removeArea: { token, area, key },
  promote: { token, name: user, key },
  demote: { token, name: user, key },
  /** All nodes, and the areas behind a name; `next` of a reply is the `after` of the next page. */
  status: { after: area.optional() },
  /** From a node, with a token that proves that it knows the database's key. Without a host, the address that it speaks from; without a port for health, the other. */
  join: {
    token,
    name: nameAmong(noNames),
    id: z.uuid(),
    port,
    host: z.string().max(255).optional(),
    healthPort: port.optional(),
  },
  leave: { token },

  // To a node.
  /** Page by page: `next` of a reply is the `after` of the next one. */
  areas: { token, after: area.optional() },
  myAreas: { token, after: id.optional(), countMax: z.int().min(0).max(unreadCountMax).default(unreadCountMax) },
  subscribe: { token, area, key },
  unsubscribe: { token, area, key },
  post: { token, area, key, text },
  delete: { token, area, number },
  /** The newest items below `before`, or of all. */
  read: { token, area, before: number.optional(), limit },
  /** Items that the user has not marked and nobody holds; they are held for this reader until the lease ends. */
  unread: { token, area, limit },
  /** Marks as read what was offered. */
  mark: { token, area, numbers: z.array(number).min(1).max(pageItemsMax) },
  /** Every item above `after`, or from now on, as long as the connection lasts: the reply, then frames of `news` and `alive`. */
  watch: { token, area, after: z.int().min(0).optional() },
  /** From an agent: are you there, and who are you? */
  health: {},
});

type Shapes = ReturnType<typeof requestShapes>;
export type Kind = keyof Shapes;
type Shape<K extends Kind> = z.ZodObject<Shapes[K]>;
export type Request<K extends Kind = Kind> = K extends Kind ? { kind: K; deadlineMs: number } & z.infer<Shape<K>> : never;

/** What a client says beside the kind and the deadline. */
export type Body<K extends Kind> = z.input<Shape<K>>;

export type UserRole = 'user' | 'administrator';

export interface Item {
  readonly number: number;
  readonly author: string;
  readonly text: string;
  /** ISO 8601. */
  readonly postedAt: string;
}
export interface Session {
  readonly token: string;
  readonly name: string;
  readonly role: UserRole;
  /** ISO 8601. */
  readonly expiresAt: string;
}
export interface Status {
  /** The agent that decides who serves what; undefined before there was one. */
  readonly decides: string | undefined;
  readonly nodes: readonly { readonly name: string; readonly address: string; readonly leaving: boolean }[];
  readonly areas: readonly { readonly area: string; readonly wanted: number; readonly nodes: readonly string[] }[];
}

/** There may be more: it is behind `next`. */
export interface Paged {
  readonly next?: string;
}

/** What a reply holds when it is `ok`. */
export interface Replies {
  register: { name: string };
  login: Session;
  logout: Record<never, never>;
  where: { nodes: readonly string[] };
  addArea: { area: string; nodes: number };
  setArea: { area: string; nodes: number };
  /** Counted up to `removedCountMax`. */
  removeArea: { area: string; news: number; subscriptions: number };
  promote: { name: string };
  demote: { name: string };
  status: Status & Paged;
  /** The address at which the node is known. */
  join: { address: string };
  leave: Record<never, never>;
  areas: { areas: readonly { readonly area: string; readonly subscribed: boolean }[] } & Paged;
  /** Everything up to `since` was read, or was there before the subscription; `unread` stops counting at `countMax`. In no order that means anything. */
  myAreas: { areas: readonly { readonly area: string; readonly unread: number; readonly since: number }[] } & Paged;
  subscribe: { area: string; changed: boolean };
  unsubscribe: { area: string; changed: boolean };
  post: { area: string; number: number };
  delete: { area: string; number: number };
  /** In the order of their numbers. */
  read: { items: readonly Item[] };
  /** `held`: how many more another reader of the same user holds; the first of them may be free after `heldMs`. */
  unread: { items: readonly Item[]; leaseMs: number; held: number; heldMs: number };
  mark: { marked: number };
  watch: { after: number };
  health: { id: string; healthy: boolean };
}

/** What a node sends to a watcher after the reply. A watcher sends `alive`, too, so that each side notices when the other is gone. */
export type WatchFrame = { readonly news: readonly Item[] } | { readonly alive: true };
