/** A system on an embedded PostgreSQL, and the words in which tests tell what people do with it. */
import { randomUUID } from 'node:crypto';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/embedded-postgres';
import { eventually } from '@lab/testing';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import type { Consortium } from '../src/client/consortium.ts';
import { wholeStatus, type WholeStatus } from '../src/client/lists.ts';
import type { Item } from '../src/messages.ts';
import { administrator, ConsortiumInProcess, type SystemOptions } from './consortium-in-process.ts';

/** An embedded PostgreSQL may take a minute to be made and another one to start; a system, and its end, a few seconds. */
export const startMs = 180_000;

/** Of a test file: a PostgreSQL, which is gone after its last test. */
export function postgresForAll(): void {
  beforeAll(async () => {
    postgres = await startEmbeddedPostgres();
  }, startMs);
  afterAll(() => postgres.stop(), startMs);
}

/** For tests that leave agents and nodes as they are. */
export function oneSystemForAll(options?: SystemOptions): void {
  beforeAll(() => start(options), startMs);
  afterEach(async () => {
    for (const { area } of (await status()).areas) await client.ask('removeArea', { token: root, area, key: newKey() });
  });
  afterAll(() => system[Symbol.asyncDispose](), startMs);
}

export function oneSystemForEach(options?: SystemOptions): void {
  beforeEach(() => start(options), startMs);
  afterEach(() => system[Symbol.asyncDispose](), startMs);
}

export let postgres: EmbeddedPostgres;
export let system: ConsortiumInProcess;
export let client: Consortium;
/** The administrator's session. */
export let root: string;

async function start(options?: SystemOptions): Promise<void> {
  system = await ConsortiumInProcess.start(postgres, options);
  client = system.client();
  root = (await client.ask('login', { ...administrator, key: newKey() })).token;
}

export const password = 'correct horse';
/** For requests past the client: of one of them on a busy machine. */
export const timeoutMs = 20_000;

export const login = async (name: string, by = client): Promise<string> =>
  (await by.ask('login', { name, password, key: newKey() })).token;

/** A new user, subscribed to the areas; resolves with the session's token. */
export async function member(name: string, ...areas: string[]): Promise<string> {
  await client.ask('register', { name, password, key: name });
  const token = await login(name);
  for (const area of areas) await client.ask('subscribe', { token, area, key: randomUUID() });
  return token;
}

export async function addArea(area: string, nodes = 1): Promise<void> {
  await client.ask('addArea', { token: root, area, nodes, key: randomUUID() });
  await eventually(async () => (await servedBy(area)).length > 0, { intervalMs: 5 });
}

let keys = 0;
export const newKey = (): string => `key-${++keys}`;
export const post = async (token: string, area: string, text: string, key = newKey()): Promise<number> =>
  (await client.ask('post', { token, area, text, key })).number;
export const read = async (token: string, area: string): Promise<string[]> =>
  textsOf((await client.ask('read', { token, area, limit: 100 })).items);
export const unread = async (token: string, area: string): Promise<string[]> =>
  textsOf((await client.ask('unread', { token, area, limit: 100 })).items);
export const textsOf = (items: readonly Item[]): string[] => items.map(({ text }) => text);
export const status = (): Promise<WholeStatus> => wholeStatus(client, root);
/** Addresses of the nodes of an area. */
export const servedBy = async (area: string): Promise<readonly string[]> =>
  (await status()).areas.find((each) => each.area === area)?.nodes ?? [];
export const refusal = (code: string): unknown => expect.objectContaining({ name: 'Refusal', code });
