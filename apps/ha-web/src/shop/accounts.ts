/** Accounts and their sessions, which live in the database: any web server knows them. Each call may be repeated. */
import { createHash, randomBytes } from 'node:crypto';
import type { Passwords } from '@lab/process/passwords';
import type { Database, Sql } from './database.ts';
import type { Account, Credentials, Session } from './messages.ts';
import { Refusal } from './refusal.ts';

/** A week's shopping is done with one login. */
export const sessionSeconds = 7 * 86_400;
/** A login clears away more than one adds, and never waits long for it. */
const clearedMax = 20;

interface AccountRow extends Account {
  password: string | null;
}

/** A name that is taken is refused, except with its own password: then the answer to the first request was lost. */
export async function register(database: Database, { name, password }: Credentials, passwords: Passwords): Promise<Session> {
  const hash = await passwords.hash(password);
  const [row] = await database.write(async (sql) => {
    const id = await accountOf(sql, name, hash);
    return sql.rows<AccountRow>('SELECT id, name, password FROM accounts WHERE id = ?', [id]);
  });
  if (row === undefined || (row.password !== hash && !(await passwords.matches(password, row.password)))) {
    throw new Refusal('name-taken', `"${name}" is taken: choose another name, or log in`);
  }
  return openSession(database, { id: row.id, name: row.name });
}

export async function logIn(database: Database, { name, password }: Credentials, passwords: Passwords): Promise<Session> {
  const [row] = await database.read((sql) =>
    sql.rows<AccountRow>('SELECT id, name, password FROM accounts WHERE name = ?', [name]),
  );
  if (!(await passwords.matches(password, row?.password)) || row === undefined) {
    throw new Refusal('wrong-password', 'check the name and the password, or register');
  }
  return openSession(database, { id: row.id, name: row.name });
}

/**
 * For who was identified by a sign-in service: the account is made when there is none. One with a password is its owner's, whatever the service says:
 * whoever registers a name first must not share it with the person whom the service calls so.
 */
export async function visit(database: Database, name: string): Promise<Session> {
  const id = await database.write(async (sql) => {
    const found = await accountOf(sql, name, null);
    const [row] = await sql.rows<AccountRow>('SELECT password FROM accounts WHERE id = ?', [found]);
    if (row?.password !== null) throw new Refusal('name-taken', `"${name}" has a password: log in with it`);
    return found;
  });
  return openSession(database, { id, name });
}

/** The account of that name, made if there is none. */
async function accountOf(sql: Sql, name: string, password: string | null): Promise<number> {
  const { id } = await sql.change(
    'INSERT INTO accounts (name, password) VALUES (?, ?) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)',
    [name, password],
  );
  return id;
}

async function openSession(database: Database, account: Account): Promise<Session> {
  const token = randomBytes(32).toString('base64url');
  await database.write(async (sql) => {
    await sql.change('DELETE FROM sessions WHERE expires_at < NOW(3) ORDER BY expires_at LIMIT ?', [clearedMax]);
    // A try whose commit was not answered may have written it; what is written again waits for a commit again.
    await sql.change('REPLACE INTO sessions VALUES (?, ?, NOW(3) + INTERVAL ? SECOND)', [
      hashed(token),
      account.id,
      sessionSeconds,
    ]);
  });
  return { account, token };
}

/** Whose session it is. */
export async function findAccount(database: Database, token: string | undefined): Promise<Account | undefined> {
  if (token === undefined) return undefined;
  const [account] = await database.read((sql) =>
    sql.rows<Account>(
      `SELECT accounts.id, accounts.name FROM sessions JOIN accounts ON accounts.id = account_id
       WHERE token_hash = ? AND expires_at > NOW(3)`,
      [hashed(token)],
    ),
  );
  return account;
}

export async function closeSession(database: Database, token: string): Promise<void> {
  await database.write((sql) => sql.change('DELETE FROM sessions WHERE token_hash = ?', [hashed(token)]));
}

const hashed = (token: string): Buffer => createHash('sha256').update(token).digest();
