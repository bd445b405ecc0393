/** Users, their sessions, and how often a password was wrong. */
import type { Logger } from '@lab/process';
import type { Passwords } from '@lab/process/passwords';
import { skeleton } from '../domain/confusables.ts';
import { isPassword } from '../domain/names.ts';
import { freeFailures, freeFailuresOfAll, waitAfter } from '../domain/tries.ts';
import type { Call } from '../wire/calls.ts';
import { Refusal } from '../wire/refusal.ts';
import type { Replies, UserRole } from '../messages.ts';
import type { Database, Deadline, Statement } from './database.ts';
import { once } from './once.ts';

/** Deletes up to so many rows at a time. */
const prunedRows = 1_000;
const pieceOf = (table: string, at: string, age: string): string =>
  `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
          SELECT ctid FROM ${table} WHERE ${at} < now() - interval '${age}' ORDER BY ${at} LIMIT ${prunedRows})) RETURNING 1`;

export const statements = {
  register: {
    name: 'register',
    text: `INSERT INTO users (name, password, role, key, skeleton) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING id`,
  },
  find: { name: 'find-user', text: `SELECT id, password, role, key FROM users WHERE name = $1` },
  // Before anything is read of a name's tries: those that come at once are counted one after the other, at whichever agents.
  lockTries: { name: 'lock-tries', text: `SELECT pg_advisory_xact_lock(710003, hashtext($1))` },
  // $1 name, $2 source, $3 key. What nobody has looked at in time is no failure.
  tries: {
    name: 'tries',
    text: `SELECT coalesce(bool_or(failed) FILTER (WHERE own), false) AS "hasFailed", coalesce(bool_or(looked) FILTER (WHERE own), false) AS "isLookedAt",
        (count(*) FILTER (WHERE here AND failed))::integer AS "failedHere", (count(*) FILTER (WHERE here AND looked AND NOT own))::integer AS "lookedHere",
        (count(*) FILTER (WHERE failed))::integer AS failed, (extract(epoch FROM now() - max(at) FILTER (WHERE failed)) * 1000)::float8 AS "agoMs",
        (extract(epoch FROM now() - max(at) FILTER (WHERE here AND failed)) * 1000)::float8 AS "agoHereMs",
        EXISTS (SELECT FROM login_sources l JOIN users u ON u.id = l.user_id WHERE u.name = $1 AND l.source = $2) AS "isKnownHere"
      FROM (
        SELECT failed, at, NOT failed AND looked_until > now() AS looked, source = $2 AS here, source = $2 AND key = $3 AS own
        FROM login_tries WHERE name = $1 AND at > now() - interval '1 hour') t`,
  },
  look: {
    name: 'look',
    text: `INSERT INTO login_tries (name, source, key, looked_until) VALUES ($1, $2, $3, now() + $4 * interval '1 ms')
      ON CONFLICT (name, source, key) DO UPDATE SET looked_until = excluded.looked_until`,
  },
  fail: { name: 'fail', text: `UPDATE login_tries SET failed = true, at = now() WHERE name = $1 AND source = $2 AND key = $3` },
  // A session that was opened under the key is the one.
  open: {
    name: 'open-session',
    text: `WITH forgotten AS (DELETE FROM login_tries WHERE name = $4 AND source = $5),
        known AS (INSERT INTO login_sources (user_id, source) VALUES ($2, $5) ON CONFLICT (user_id, source) DO UPDATE SET at = now())
      INSERT INTO sessions (id, user_id, key, expires_at) VALUES ($1, $2, $6, now() + $3 * interval '1 ms')
      ON CONFLICT (user_id, key) DO UPDATE SET key = excluded.key RETURNING id, (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresMs"`,
  },
  close: {
    name: 'close-session',
    text: `WITH closed AS (UPDATE sessions SET closed_at = now() WHERE id = $1 AND closed_at IS NULL RETURNING id)
      SELECT pg_notify('sessions', id::text)::text FROM closed`,
  },
  ofSession: {
    name: 'user-of-session',
    text: `SELECT u.id, u.name, u.password, u.role FROM sessions s JOIN users u ON u.id = s.user_id
      WHERE s.id = $1 AND s.closed_at IS NULL AND s.expires_at > now()`,
  },
  // $1 user, $2 the password that was looked at, $3 the new one, $4 session, $5 name, $6 source.
  setPassword: {
    name: 'set-password',
    text: `WITH changed AS (UPDATE users SET password = $3 WHERE id = $1 AND password = $2 RETURNING id),
        forgotten AS (DELETE FROM login_tries WHERE name = $5 AND source = $6 AND EXISTS (TABLE changed)),
        closed AS (UPDATE sessions s SET closed_at = now() FROM changed c
          WHERE s.user_id = c.id AND s.id <> $4 AND s.closed_at IS NULL AND s.expires_at > now() RETURNING s.id)
      SELECT EXISTS (TABLE changed) AS changed, (SELECT count(pg_notify('sessions', id::text)::text) FROM closed)::integer AS closed`,
  },
  setRole: { name: 'set-role', text: `UPDATE users SET role = $2 WHERE name = $1 RETURNING id` },
  signingKey: { name: 'signing-key', text: `SELECT key FROM signing_key` },
  prune: {
    name: 'prune-accounts',
    text: `WITH ended AS (${pieceOf('sessions', 'expires_at', '1 day')}),
        old AS (${pieceOf('done', 'at', '1 day')}),
        sources AS (${pieceOf('login_sources', 'at', '90 days')}),
        tries AS (${pieceOf('login_tries', 'at', '1 hour')})
      SELECT EXISTS (TABLE ended UNION ALL TABLE old UNION ALL TABLE sources UNION ALL TABLE tries) AS worked`,
  },
} satisfies Record<string, Statement>;

export interface User {
  /** A bigint: as text. */
  readonly id: string;
  readonly password: string;
  readonly role: UserRole;
}

/** A login, of which there may be several requests. */
export interface LoginTry {
  readonly name: string;
  /** The address that it comes from. */
  readonly source: string;
  readonly key: string;
}

export class Accounts {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Whether the name was free. Where a request with this key has taken it, its password is to be looked at. Refuses a name that is another's, or looks like one.
   */
  async register(
    user: { name: string; password: string; role: UserRole; key: string },
    deadline: Deadline,
  ): Promise<User | undefined> {
    const { name, password, role, key } = user;
    const made = await this.#database.run(statements.register, [name, password, role, key, skeleton(name)], deadline);
    if (made.length > 0) return undefined;
    const [taken] = await this.#database.run<User & { key: string }>(statements.find, [name], deadline);
    if (taken === undefined) throw looksTaken(name);
    if (taken.key !== key) throw new Refusal('exists', `the name ${name} is taken`);
    return taken;
  }

  async find(name: string, deadline: Deadline): Promise<User | undefined> {
    const [user] = await this.#database.run<User>(statements.find, [name], deadline);
    return user;
  }

  /**
   * Takes a try to look at its password; for `withinMs` nobody else does. Refuses what failed before, one too many after failures, and what another agent
   * looks at. Counted BEFORE the password is looked at, or many tries at once would all pass.
   */
  async lookAt({ name, source, key }: LoginTry, withinMs: number, deadline: Deadline): Promise<void> {
    await this.#database.transaction(deadline, async (client) => {
      await client.query({ ...statements.lockTries, values: [name] });
      const { rows } = await client.query<Tries>({ ...statements.tries, values: [name, source, key] });
      const tries = rows[0]!;
      if (tries.hasFailed) throw wrongPassword(name);
      checkWait(name, leftMs(tries));
      if (tries.isLookedAt || tries.lookedHere >= Math.max(1, freeFailures - tries.failedHere))
        throw new Refusal('unavailable', `others log in as ${name} at this moment`);
      await client.query({ ...statements.look, values: [name, source, key, withinMs] });
    });
  }

  /** The password was wrong. */
  async fail({ name, source, key }: LoginTry, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.fail, [name, source, key], deadline);
  }

  /** Opens a session, or finds the one of this key, and forgets the failures before it. */
  async openSession(
    session: { id: string; user: User; lifetimeMs: number },
    { name, source, key }: LoginTry,
    deadline: Deadline,
  ): Promise<{ id: string; expiresMs: number }> {
    const values = [session.id, session.user.id, session.lifetimeMs, name, source, key];
    const [opened] = await this.#database.run<{ id: string; expiresMs: number }>(statements.open, values, deadline);
    return opened!;
  }

  /** From its return on every statement of every node finds the session closed. To close it again does nothing. */
  async closeSession(id: string, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.close, [id], deadline);
  }

  /** Whose session it is; refused where that is over. */
  async ofSession(id: string, deadline: Deadline): Promise<User & { readonly name: string }> {
    const [user] = await this.#database.run<User & { name: string }>(statements.ofSession, [id], deadline);
    if (user === undefined) throw sessionOver();
    return user;
  }

  /** Closes all sessions of the user but this one, and forgets failures as a login does. */
  async setPassword(
    { user, hash, session }: { user: User; hash: string; session: string },
    { name, source }: LoginTry,
    deadline: Deadline,
  ): Promise<void> {
    const values = [user.id, user.password, hash, session, name, source];
    const [done] = await this.#database.run<{ changed: boolean }>(statements.setPassword, values, deadline);
    if (!done!.changed) throw new Refusal('unavailable', `the password of ${name} changed at this moment`);
  }

  async promote(call: Call<'promote'>): Promise<Replies['promote']> {
    return this.#setRole(call, 'administrator');
  }

  async demote(call: Call<'demote'>): Promise<Replies['demote']> {
    return this.#setRole(call, 'user');
  }

  #setRole(call: Call<'promote' | 'demote'>, role: UserRole): Promise<{ name: string }> {
    const { name } = call.request;
    return once(this.#database, call, async (client) => {
      const { rows } = await client.query({ ...statements.setRole, values: [name, role] });
      if (rows.length === 0) throw new Refusal('unknown-user', `there is no user ${name}`);
      return { name };
    });
  }

  async signingKey(deadline: Deadline): Promise<Buffer> {
    const [row] = await this.#database.run<{ key: Buffer }>(statements.signingKey, [], deadline);
    if (row === undefined) throw new Error('the database has no signing key');
    return row.key;
  }

  /** Forgets a piece of what nobody can ask for any more; resolves with false when there is nothing. */
  async prune(deadline: Deadline): Promise<boolean> {
    const [row] = await this.#database.run<{ worked: boolean }>(statements.prune, [], deadline);
    return row?.worked ?? false;
  }
}

interface Tries {
  /** Of this key: its password was wrong, or somebody looks at it. */
  readonly hasFailed: boolean;
  readonly isLookedAt: boolean;
  readonly failedHere: number;
  readonly lookedHere: number;
  readonly failed: number;
  readonly agoMs: number;
  readonly agoHereMs: number;
  /** The user has logged in from here. */
  readonly isKnownHere: boolean;
}

/** Until the next try from here. Where the user has been, it is not kept out by what others do elsewhere. */
function leftMs({ failedHere, agoHereMs, failed, agoMs, isKnownHere }: Tries): number {
  const here = waitAfter(failedHere) - agoHereMs;
  return isKnownHere ? here : Math.max(here, waitAfter(failed, freeFailuresOfAll) - agoMs);
}

function checkWait(name: string, leftMs: number): void {
  if (leftMs <= 0) return;
  const retryAfterMs = Math.ceil(leftMs);
  const text = `too many wrong passwords for ${name}: again in ${Math.ceil(leftMs / 1_000)} s`;
  throw new Refusal('rate-limited', text, { retryAfterMs });
}

export const wrongPassword = (name: string): Refusal =>
  new Refusal('wrong-password', `no user has the name ${name} and this password`);

/** Makes sure that there is an administrator to begin with. One that is there stays as it is, its password too. */
export async function ensureAdministrator(
  { accounts, passwords, log }: { accounts: Accounts; passwords: Passwords; log: Logger },
  { name, password }: { name: string; password: string },
  deadline: Deadline,
): Promise<void> {
  const known = await accounts.find(name, deadline);
  if (known !== undefined && known.role !== 'administrator')
    log.warn({ name }, 'the name of the first administrator is a user already, who stays one: choose another name');
  if (known !== undefined) return;
  if (!isPassword(password)) throw new RangeError("the first administrator's password is too short or too long");
  await accounts.register(
    { name, password: await passwords.hash(password), role: 'administrator', key: `first:${name}` },
    deadline,
  );
  log.info({ name }, 'made the first administrator');
}

export const sessionOver = (): Refusal => new Refusal('unauthenticated', 'the session is closed or has expired: log in again');

export const looksTaken = (name: string): Refusal => new Refusal('exists', `the name ${name} looks like one that is taken`);
