/** What is done with a password: a registration, a login, a change. To look at one takes 0.2 s of a core, so it is not done for who has given up. */
import type { Clock } from '@lab/process';
import type { Passwords } from '@lab/process/passwords';
import type { Replies, Session } from '../messages.ts';
import { wrongPassword, type Accounts } from '../store/accounts.ts';
import { keyTaken } from '../store/once.ts';
import type { Call } from '../wire/calls.ts';
import type { Tokens } from '../wire/tokens.ts';

export interface LoginsParts {
  readonly accounts: Accounts;
  readonly tokens: Tokens;
  readonly passwords: Passwords;
  /** For registrations, apart: however many there are, they do not keep users from logging in. */
  readonly newPasswords: Pick<Passwords, 'hash'>;
  readonly clock: Clock;
  readonly newId: () => string;
  /** How long a session is good for. */
  readonly sessionMs: number;
}

export class Logins {
  readonly #parts: LoginsParts;

  constructor(parts: LoginsParts) {
    this.#parts = parts;
  }

  async register({ request, deadline }: Call<'register'>): Promise<Replies['register']> {
    const { accounts, passwords, newPasswords } = this.#parts;
    const { name, key } = request;
    const isAbandoned = (): boolean => this.#isOver(deadline);
    const password = await newPasswords.hash(request.password, isAbandoned);
    const before = await accounts.register({ name, password, role: 'user', key }, deadline);
    if (before !== undefined && !(await passwords.matches(request.password, before.password, isAbandoned))) throw keyTaken(key);
    return { name };
  }

  /** An unknown name and a wrong password get the same answer, after the same time. */
  async login({ request, deadline, peer }: Call<'login'>): Promise<Session> {
    const { accounts, passwords, tokens, newId, clock, sessionMs } = this.#parts;
    const { name, password, key } = request;
    const login = { name, source: peer, key };
    await accounts.lookAt(login, Math.max(0, deadline - clock.nowMs()), deadline);
    const user = await accounts.find(name, deadline);
    if (!(await passwords.matches(password, user?.password, () => this.#isOver(deadline))) || user === undefined) {
      await accounts.fail(login, deadline);
      throw wrongPassword(name);
    }
    const opened = await accounts.openSession({ id: newId(), user, lifetimeMs: sessionMs }, login, deadline);
    const token = tokens.sign({ kind: 'session', ...opened });
    return { token, name, role: user.role, expiresAt: new Date(opened.expiresMs).toISOString() };
  }

  /** Who has found a session open does not have the password: wrong ones are counted as those of logins. */
  async changePassword({ request, asker, deadline, peer }: Call<'changePassword'>): Promise<Replies['changePassword']> {
    const { accounts, passwords, newPasswords, clock } = this.#parts;
    const { password, newPassword, key } = request;
    const isAbandoned = (): boolean => this.#isOver(deadline);
    const user = await accounts.ofSession(asker, deadline);
    const login = { name: user.name, source: peer, key };
    await accounts.lookAt(login, Math.max(0, deadline - clock.nowMs()), deadline);
    if (await passwords.matches(password, user.password, isAbandoned)) {
      const hash = await newPasswords.hash(newPassword, isAbandoned);
      await accounts.setPassword({ user, hash, session: asker }, login, deadline);
    } else if (!(await passwords.matches(newPassword, user.password, isAbandoned))) {
      await accounts.fail(login, deadline);
      throw wrongPassword(user.name);
    }
    // It has the new one: this was done, and the answer was lost.
    return {};
  }

  #isOver(deadline: number): boolean {
    return this.#parts.clock.nowMs() > deadline;
  }
}
