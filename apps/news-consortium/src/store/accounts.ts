/** Users, their sessions, and how often somebody tried a password. */
import type { Logger } from '@lab/process';
import type { Passwords } from '@lab/process/passwords';
import { skeleton } from '../domain/confusables.ts';
import { isPassword } from '../domain/names.ts';
import { Refusal } from '../wire/refusal.ts';
import type { UserRole } from '../messages.ts';
import type { Database, Deadline, Statement } from './database.ts';

const statements = {
  register: {
    name: 'register',
    text: `INSERT INTO users (name, password, role, key, skeleton) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING id`,
  },
  find: { name: 'find-user', text: `SELECT id, password, role, key FROM users WHERE name = $1` },
  // The window is not put off by more tries: whoever waits for its end may try again, however often others do.
  attempt: {
    name: 'attempt',
    text: `INSERT INTO login_attempts AS a (name, attempts, since) VALUES ($1, 1, now())
      ON CONFLICT (name) DO UPDATE SET
        attempts = CASE WHEN a.since + $2 * interval '1 ms' <= now() THEN 1 ELSE a.attempts + 1 END,
        since = CASE WHEN a.since + $2 * interval '1 ms' <= now() THEN now() ELSE a.since END
      RETURNING attempts, (extract(epoch FROM since - now()) * 1000 + $2)::float8 AS "leftMs"`,
  },
  open: {
    name: 'open-session',
    text: `WITH forgotten AS (DELETE FROM login_attempts WHERE name = $4)
      INSERT INTO sessions (id, user_id, expires_at) VALUES ($1, $2, now() + $3 * interval '1 ms')`,
  },
  close: {
    name: 'close-session',
    text: `WITH closed AS (UPDATE sessions SET closed_at = now() WHERE id = $1 AND closed_at IS NULL RETURNING id)
      SELECT pg_notify('sessions', id::text)::text FROM closed`,
  },
  promote: {
    name: 'promote',
    text: `WITH admin AS (SELECT u.role FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND s.closed_at IS NULL AND s.expires_at > now()),
        promoted AS (UPDATE users SET role = 'administrator' FROM admin WHERE name = $2 AND admin.role = 'administrator' RETURNING 1)
      SELECT (SELECT role FROM admin) AS role, EXISTS (SELECT FROM promoted) AS done`,
  },
  signingKey: { name: 'signing-key', text: `SELECT key FROM signing_key` },
  prune: {
    name: 'prune-accounts',
    text: `WITH sessions AS (DELETE FROM sessions WHERE expires_at < now() - interval '1 day'),
        done AS (DELETE FROM done WHERE at < now() - interval '1 day')
      DELETE FROM login_attempts WHERE since < now() - interval '1 day'`,
  },
} satisfies Record<string, Statement>;

export interface User {
  /** A bigint: as text. */
  readonly id: string;
  readonly password: string;
  readonly role: UserRole;
}

/** More tries under one name within the window are refused, at whichever agents they are made. */
export const attemptsMax = 10;
export const attemptWindowMs = 60_000;

export class Accounts {
  readonly #database: Database;
  constructor(database: Database) {
    this.#database = database;
  }

  /** Refuses a name that is taken or looks like one that is, but for the repeat of the request that took it. */
  async register(user: { name: string; password: string; role: UserRole; key: string }, deadline: Deadline): Promise<void> {
    const { name, password, role, key } = user;
    const made = await this.#database.run(statements.register, [name, password, role, key, skeleton(name)], deadline);
    if (made.length > 0) return;
    const [taken] = await this.#database.run<User & { key: string }>(statements.find, [name], deadline);
    if (taken === undefined) throw looksTaken(name);
    if (taken.key !== key) throw new Refusal('exists', `the name ${name} is taken`);
  }

  async find(name: string, deadline: Deadline): Promise<User | undefined> {
    const [user] = await this.#database.run<User>(statements.find, [name], deadline);
    return user;
  }

  /** Counts a try BEFORE the password is looked at, or many tries at once would all pass; refuses one too many. */
  async countAttempt(name: string, deadline: Deadline): Promise<void> {
    type Row = { attempts: number; leftMs: number };
    const [row] = await this.#database.run<Row>(statements.attempt, [name, attemptWindowMs], deadline);
    if (row === undefined || row.attempts <= attemptsMax) return;
    const retryAfterMs = Math.max(1_000, Math.ceil(row.leftMs));
    const seconds = Math.ceil(retryAfterMs / 1_000);
    throw new Refusal('rate-limited', `too many tries to log in as ${name}: again in ${seconds} s`, { retryAfterMs });
  }

  /** Opens a session and forgets the tries before it. */
  async openSession(session: { id: string; user: User; name: string; lifetimeMs: number }, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.open, [session.id, session.user.id, session.lifetimeMs, session.name], deadline);
  }

  /** From its return on every statement of every node finds the session closed. To close it again does nothing. */
  async closeSession(id: string, deadline: Deadline): Promise<void> {
    await this.#database.run(statements.close, [id], deadline);
  }

  async promote(session: string, name: string, deadline: Deadline): Promise<void> {
    type Row = { role: UserRole | null; done: boolean };
    const [row] = await this.#database.run<Row>(statements.promote, [session, name], deadline);
    checkAdministrator(row?.role);
    if (row?.done !== true) throw new Refusal('unknown-user', `there is no user ${name}`);
  }

  async signingKey(deadline: Deadline): Promise<Buffer> {
    const [row] = await this.#database.run<{ key: Buffer }>(statements.signingKey, [], deadline);
    if (row === undefined) throw new Error('the database has no signing key');
    return row.key;
  }

  /** Forgets what nobody can ask for any more. */
  async prune(deadline: Deadline): Promise<void> {
    await this.#database.run(statements.prune, [], deadline);
  }
}

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

/** `role` is that of an open session's user, as the database has it now. */
export function checkAdministrator(role: UserRole | null | undefined): void {
  if (role === null || role === undefined) throw sessionOver();
  if (role !== 'administrator') throw new Refusal('forbidden', 'this is for administrators');
}

export const sessionOver = (): Refusal => new Refusal('unauthenticated', 'the session is closed or has expired: log in again');

export const looksTaken = (name: string): Refusal => new Refusal('exists', `the name ${name} looks like one that is taken`);
