/**
 * What stands in a group's log: a length, a header as JSON, and for some the bytes of a body.
 *
 * | kind    | written by          | says                                                                    |
 * |---------|---------------------|-------------------------------------------------------------------------|
 * | head    | a writer of views   | first in every log: where the log before it ended, and the state there  |
 * | view    | a writer of views   | who is a member from here on                                            |
 * | close   | a writer of views   | what follows counts for nobody; the order goes on in the next log       |
 * | message | a member            | what it multicasts                                                      |
 * | leave   | a member            | it goes on purpose                                                      |
 * | probe   | anybody             | nothing: its sender learns that it can write and read                   |
 */
import { joinParts, splitParts } from './parts.ts';
import { services, type Cause, type Service } from './port.ts';

/** The place of a view or a close among those of its writer. */
export interface Stamp {
  /** The fencing epoch of the writer's election. */
  readonly epoch: number;
  /** 1, 2, 3 ... within the epoch. */
  readonly number: number;
}

export interface HeadEntry extends Stamp {
  readonly kind: 'head';
  /** The log that this one follows. */
  readonly previous: string | undefined;
  readonly viewId: string | undefined;
  readonly cause: Cause;
  readonly members: readonly string[];
  /** Of each member the number of its last message in the order. */
  readonly accepted: Readonly<Record<string, number>>;
  readonly sequenceMax: number;
  readonly leaving: readonly string[];
  readonly state: Buffer;
}

export interface ViewEntry extends Stamp {
  readonly kind: 'view';
  readonly cause: Cause;
  readonly members: readonly string[];
}

export interface CloseEntry extends Stamp {
  readonly kind: 'close';
}

export interface MessageEntry {
  readonly kind: 'message';
  readonly sender: string;
  /** 1, 2, 3 ... of this sender. */
  readonly number: number;
  readonly service: Service;
  readonly body: Buffer;
}

export interface LeaveEntry {
  readonly kind: 'leave';
  readonly sender: string;
}

export interface ProbeEntry {
  readonly kind: 'probe';
  /** Of the process that asks. */
  readonly token: string;
}

export type Entry = HeadEntry | ViewEntry | CloseEntry | MessageEntry | LeaveEntry | ProbeEntry;

export function encodeEntry(entry: Entry): Buffer {
  if (entry.kind === 'message') {
    const { body, ...header } = entry;
    return joinParts(header, body);
  }
  if (entry.kind !== 'head') return joinParts(entry, nothing);
  const { state, ...header } = entry;
  return joinParts(header, state);
}

const nothing = Buffer.alloc(0);

/** What is no entry is `undefined`: it is skipped by all alike. */
export function decodeEntry(bytes: Buffer): Entry | undefined {
  const parts = splitParts(bytes);
  return parts && checkedEntry(parts.header, parts.body);
}

function checkedEntry(header: Readonly<Record<string, unknown>>, body: Buffer): Entry | undefined {
  const { kind, sender, token, epoch, number, service } = header;
  switch (kind) {
    case 'probe':
      return typeof token === 'string' ? { kind, token } : undefined;
    case 'leave':
      return typeof sender === 'string' ? { kind, sender } : undefined;
    case 'message':
      if (typeof sender !== 'string' || !isCount(number) || !isService(service)) return undefined;
      return { kind, sender, number, service, body };
    case 'close':
      return isCount(epoch) && isCount(number) ? { kind, epoch, number } : undefined;
    case 'view':
      if (!isCount(epoch) || !isCount(number) || !isCause(header['cause']) || !isIds(header['members'])) return undefined;
      return { kind, epoch, number, cause: header['cause'], members: header['members'] };
    case 'head':
      return checkedHead(header, body);
    default:
      return undefined;
  }
}

function checkedHead(header: Readonly<Record<string, unknown>>, state: Buffer): HeadEntry | undefined {
  const { epoch, number, previous, viewId, cause, members, accepted, sequenceMax, leaving } = header;
  if (!isCount(epoch) || !isCount(number) || !isCause(cause) || !isIds(members) || !isIds(leaving)) return undefined;
  if (!isOptionalText(previous) || !isOptionalText(viewId) || typeof sequenceMax !== 'number') return undefined;
  if (typeof accepted !== 'object' || accepted === null || !Object.values(accepted).every(isCount)) return undefined;
  return {
    ...{ kind: 'head', epoch, number, previous, viewId, cause, members, sequenceMax, leaving, state },
    accepted: accepted as Record<string, number>,
  };
}

const causes: readonly Cause[] = ['join', 'leave', 'disconnect', 'network'];
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isService = (value: unknown): value is Service => services.includes(value as Service);
const isCause = (value: unknown): value is Cause => causes.includes(value as Cause);
const isIds = (value: unknown): value is string[] => Array.isArray(value) && value.every(isId);
const isId = (value: unknown): value is string => typeof value === 'string' && isCount(sequenceOf(value));
const isOptionalText = (value: unknown): value is string | undefined => value === undefined || typeof value === 'string';

/**
 * A member's id: its name, the token of its process, by which it knows itself in a view, and its place in the registry's order of arrival, which nobody had before. A process
 * that lost its place and took another is two members, one after the other.
 */
export const memberId = (name: string, token: string, sequence: number): string => `${name}#${token}.${sequence}`;
export const nameOf = (id: string): string => id.slice(0, id.indexOf('#'));
export const tokenOf = (id: string): string => id.slice(id.indexOf('#') + 1, id.lastIndexOf('.'));
export const sequenceOf = (id: string): number => Number(id.slice(id.lastIndexOf('.') + 1));
