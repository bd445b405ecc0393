/**
 * The wire contract between client, agent and node: a frame of libs/protocol holds one JSON object in UTF-8. A request has its `kind` and the
 * milliseconds that it may take; a reply is `{"ok": …}` or `{"error": {"code", "message", …}}`. Replies come in the order of the requests. What may be
 * asked twice after a lost answer, may be: keys make the repeats of one request known.
 */
import { z } from 'zod';
import { textBytesMax, type ItemName } from './domain/names.ts';
import { id, key, nameAmong, noNames, number, password, text, type NameSchema } from './wire/fields.ts';

/** A page of news is 100 items of 16 KiB, in JSON at most twice that. */
export const replyBytesMax = 4 * 1024 * 1024;
/** All fields of a request but the text of an item have less than 8 KiB together; a text has 16 KiB, in JSON at most twice that. */
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

/** Whose request is carried out: a user's with a session (`member`), if need be only of who is subscribed to the area, or wrote the item; a node's; anybody's. */
type Asker = 'anybody' | 'member' | 'subscriber' | 'author' | 'administrator' | 'node';

interface Row {
  readonly to: 'agent' | 'node';
  /** All but anybody show a token with the request. */
  readonly by: Asker;
  /** With a `key` it is done once; with an `area` it is for a node that serves that. */
  readonly request: z.ZodRawShape;
  /** Takes what is `ok` for what it says. */
  readonly reply: (ok: unknown) => object;
}
const as = <R extends object>(ok: unknown): R => ok as R;

/** What can be asked, where users and areas have such names. All else follows from here: what is read and sent, who is let in, which role must have a handler. */
export const operationsAmong = (user: NameSchema, area: NameSchema) =>
  ({
    register: { to: 'agent', by: 'anybody', request: { name: user, password, key }, reply: as<{ name: string }> },
    login: { to: 'agent', by: 'anybody', request: { name: user, password, key }, reply: as<Session> },
    logout: { to: 'agent', by: 'member', request: {}, reply: as<Done> },
    /** Closes the user's other sessions. */
    changePassword: { to: 'agent', by: 'member', request: { password, newPassword: password, key }, reply: as<Done> },
    /** Which nodes serve an area, in the order of chance; without an area, all of them. */
    where: { to: 'agent', by: 'anybody', request: { area: area.optional() }, reply: as<{ nodes: readonly string[] }> },
    addArea: { to: 'agent', by: 'administrator', request: { area, nodes, key }, reply: as<{ area: string; nodes: number }> },
    setArea: { to: 'agent', by: 'administrator', request: { area, nodes, key }, reply: as<{ area: string; nodes: number }> },
    removeArea: { to: 'agent', by: 'administrator', request: { area, key }, reply: as<{ area: string } & Removed> },
    promote: { to: 'agent', by: 'administrator', request: { name: user, key }, reply: as<{ name: string }> },
    demote: { to: 'agent', by: 'administrator', request: { name: user, key }, reply: as<{ name: string }> },
    /** All nodes, and the areas behind a name; `next` of a reply is the `after` of the next page. */
    status: { to: 'agent', by: 'member', request: { after: area.optional() }, reply: as<Status & Paged> },
    /** Without a host, the address that it speaks from; without a port for health, the other. The reply has the address at which the node is known. */
    join: {
      to: 'agent',
      by: 'node',
      request: {
        name: nameAmong(noNames),
        id: z.uuid(),
        port,
        host: z.string().max(255).optional(),
        healthPort: port.optional(),
      },
      reply: as<{ address: string }>,
    },
    leave: { to: 'agent', by: 'node', request: {}, reply: as<Done> },

    /** From an agent: are you there, and who are you? */
    health: { to: 'node', by: 'anybody', request: {}, reply: as<{ id: string; healthy: boolean }> },
    /** Page by page: `next` of a reply is the `after` of the next one. */
    areas: { to: 'node', by: 'member', request: { after: area.optional() }, reply: as<{ areas: readonly Area[] } & Paged> },
    /** In no order that means anything. */
    myAreas: {
      to: 'node',
      by: 'member',
      request: { after: id.optional(), countMax: z.int().min(0).max(unreadCountMax).default(unreadCountMax) },
      reply: as<{ areas: readonly MyArea[] } & Paged>,
    },
    subscribe: { to: 'node', by: 'member', request: { area, key }, reply: as<{ area: string; changed: boolean }> },
    unsubscribe: { to: 'node', by: 'member', request: { area, key }, reply: as<{ area: string; changed: boolean }> },
    post: { to: 'node', by: 'subscriber', request: { area, key, text }, reply: as<ItemName> },
    /** Gives an item another text. Who has marked it has read it: it is not offered again. */
    edit: { to: 'node', by: 'author', request: { area, number, key, text }, reply: as<ItemName> },
    delete: { to: 'node', by: 'author', request: { area, number }, reply: as<ItemName> },
    /** The newest items below `before`, or of all; in the order of their numbers. */
    read: {
      to: 'node',
      by: 'subscriber',
      request: { area, before: number.optional(), limit },
      reply: as<{ items: readonly Item[] }>,
    },
    /** Items that the user has not marked and nobody holds; they are held for this reader until the lease ends. */
    unread: { to: 'node', by: 'subscriber', request: { area, limit }, reply: as<Unread> },
    /** Marks as read what was offered. */
    mark: {
      to: 'node',
      by: 'subscriber',
      request: { area, numbers: z.array(number).min(1).max(pageItemsMax) },
      reply: as<{ marked: number }>,
    },
    /** Every item above `after`, and every change above `change`, or from now on, as long as the connection lasts: the reply, then frames of `news` and `alive`. */
    watch: {
      to: 'node',
      by: 'subscriber',
      request: { area, after: z.int().min(0).optional(), change: z.int().min(0).optional() },
      reply: as<Position>,
    },
  }) satisfies Record<string, Row>;

type Operations = ReturnType<typeof operationsAmong>;
export type Kind = keyof Operations;
/** What of each does not depend on names. */
export const operations: Readonly<Record<Kind, Row>> = operationsAmong(nameAmong(noNames), nameAmong(noNames));

type Shape<K extends Kind> = z.ZodObject<Operations[K]['request']>;
type Token<K extends Kind> = Operations[K]['by'] extends 'anybody' ? object : { token: string };
export type Request<K extends Kind = Kind> = K extends Kind
  ? { kind: K; deadlineMs: number } & Token<K> & z.infer<Shape<K>>
  : never;
/** What a client says beside the kind and the deadline. */
export type Body<K extends Kind> = Token<K> & (keyof Operations[K]['request'] extends never ? object : z.input<Shape<K>>);
/** What a reply holds when it is `ok`. */
export type Replies = { [K in Kind]: ReturnType<Operations[K]['reply']> };

export type Role = Row['to'];
/** The requests that are answered by this role, but for `watch`, which has the rest of its connection. */
export type KindTo<R extends Role> = Exclude<{ [K in Kind]: Operations[K]['to'] extends R ? K : never }[Kind], 'watch'>;
/** The requests that have this field. */
export type KindWith<F extends string> = { [K in Kind]: F extends keyof Operations[K]['request'] ? K : never }[Kind];

/** It is done; there is no more to say. */
type Done = Record<never, never>;

export type UserRole = 'user' | 'administrator';

export interface Item {
  readonly number: number;
  readonly author: string;
  readonly text: string;
  /** ISO 8601. */
  readonly postedAt: string;
  /** When it got this text, where that is not the one that was posted. ISO 8601. */
  readonly editedAt?: string;
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

/** With an area, counted up to `removedCountMax`. */
export interface Removed {
  readonly news: number;
  readonly subscriptions: number;
}
interface Area {
  readonly area: string;
  readonly subscribed: boolean;
}
/** Everything up to `since` was read, or was there before the subscription; `unread` stops counting at `countMax`. */
interface MyArea {
  readonly area: string;
  readonly unread: number;
  readonly since: number;
}
/** `held`: how many more another reader of the same user holds; the first of them may be free after `heldMs`. */
interface Unread {
  readonly items: readonly Item[];
  readonly leaseMs: number;
  readonly held: number;
  readonly heldMs: number;
}

/** How far somebody has had an area: the number of its last item, and how many items of it were edited or deleted. */
export interface Position {
  readonly after: number;
  readonly change: number;
}
/** An item got another text, or was deleted: as it is when the node reads it, where more has come since. Each area counts its changes from 1 on. */
export type Change = (Item | { readonly number: number; readonly deleted: true }) & { readonly change: number };

/** What a node sends to a watcher after the reply: what was posted and what was changed, in the order in which it was done; an edited item has its newest text. A watcher sends `alive`, too, so that each side notices when the other is gone. */
export type WatchFrame = { readonly news: readonly (Item | Change)[] } | { readonly alive: true };
