/** A database from before there was the rule of names: who is in it goes on under the name that he has. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@lab/embedded-postgres';
import { Passwords } from '@lab/process/passwords';
import pg from 'pg';
import Postgrator from 'postgrator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Consortium } from '../src/client/consortium.ts';
import { query } from './assignment-log.ts';
import { ConsortiumInProcess, createDatabase } from './consortium-in-process.ts';

/** The last migration before that of the names. */
const before = '003';
const password = 'correct horse';
/** Latin with a Cyrillic letter: no name any more. */
const mixed = 'a\u0441e';
const users = ['Ana', 'Ben', 'ben', mixed, 'x\u00b2', 'carla', 'Root'];
const areas = ['Sports', 'Arts', 'arts', 'weather'];

let postgres: EmbeddedPostgres;
let system: ConsortiumInProcess;
let client: Consortium;
let root: string;

beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
  const url = await createDatabase(postgres);
  await makeOld(url);
  system = await ConsortiumInProcess.startOn(url, { nodes: 2 });
  client = system.client();
  root = (await client.ask('login', { name: 'Root', password, key: 'root' })).token;
});

afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await postgres.stop();
});

/** Everybody has one password, and is named in it, so that it is seen who has logged in. */
async function makeOld(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  const migrationPattern = join(import.meta.dirname, '..', 'src', 'store', 'migrations', '*.sql');
  const execQuery = (text: string): Promise<pg.QueryResult> => client.query(text);
  await new Postgrator({ driver: 'pg', migrationPattern, schemaTable: 'schema_versions', execQuery }).migrate(before);
  await client.end();
  const passwords = new Passwords({ N: 2, r: 1, p: 1 });
  for (const name of users) {
    const role = name === 'Root' ? 'administrator' : 'user';
    const values = [name, await passwords.hash(name === 'Root' ? password : `${password} ${name}`), role];
    await query(url, `INSERT INTO users (name, password, role, key) VALUES ($1, $2, $3, $1)`, values);
  }
  for (const name of areas) await query(url, 'INSERT INTO areas (name, wanted, last_number) VALUES ($1, 1, 7)', [name]);
}

const login = async (typed: string, name: string): Promise<string> =>
  (await client.ask('login', { name: typed, password: `${password} ${name}`, key: randomUUID() })).name;

const refusal = (code: string): unknown => expect.objectContaining({ name: 'Refusal', code });

describe('a user from before', () => {
  it.each(users.filter((name) => name !== 'Root'))('%s logs in as before', async (name) => {
    expect(await login(name, name)).toBe(name);
  });

  it('is found in upper and lower case, too, where that is nobody else', async () => {
    expect(await login('ana', 'Ana')).toBe('Ana');
    expect(await login('ANA', 'Ana')).toBe('Ana');
    expect(await login('BEN', 'ben')).toBe('ben');
  });

  it.each(['Ana', 'ana', 'ANA', '\u0430\u0441\u0435', 'ace', 'car1a', 'ben'])(
    'has a name that nobody else gets, nor one like it: %s',
    async (name) => {
      await expect(client.ask('register', { name, password, key: 'another' })).rejects.toEqual(refusal('exists'));
    },
  );

  it('is made an administrator under that name', async () => {
    expect(await client.ask('promote', { token: root, name: mixed, key: 'promote' })).toEqual({ name: mixed });
  });
});

describe('an area from before', () => {
  it.each([
    ['Sports', 'Sports'],
    ['sports', 'Sports'],
    ['Arts', 'Arts'],
    ['arts', 'arts'],
    ['Weather', 'weather'],
  ])('is meant by %s: %s', async (typed, area) => {
    const { token } = await client.ask('login', { name: 'ana', password: `${password} Ana`, key: randomUUID() });
    expect(await client.ask('subscribe', { token, area: typed, key: typed })).toMatchObject({ area });
    expect(await client.ask('post', { token, area: typed, key: `post-${typed}`, text: 'news' })).toMatchObject({ area });
  });

  it('has a name that no other area gets', async () => {
    for (const area of ['sports', 'SPORTS', 'Sports', 'ARTS', 'weather'])
      await expect(client.ask('addArea', { token: root, area, nodes: 1, key: `add-${area}` })).rejects.toEqual(refusal('exists'));
  });
});
