/** Logging in, registering, visiting. */
import { useState } from 'preact/hooks';
import type { Session } from '../messages.ts';
import { useShop } from './shop.ts';

export function LogIn() {
  const { client, run, setAccount, tell } = useShop();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const enter = async (path: string, body: object): Promise<void> => {
    const session = await run(() => client.send<Session>('POST', path, body));
    if (session === undefined) return;
    setAccount(session.account);
    tell('You are logged in.');
    if (location.hash === '#/login') location.hash = '#/products';
  };
  const onSubmit = (event: SubmitEvent): void => {
    event.preventDefault();
    const isNew = event.submitter?.getAttribute('value') === 'register';
    void enter(isNew ? '/accounts' : '/sessions', { name, password });
  };
  return (
    <form class="panel" onSubmit={onSubmit}>
      <p>Log in to fill a basket and to order.</p>
      <p>
        <label>
          Name
          <br />
          <input
            required
            minLength={3}
            maxLength={40}
            autocapitalize="none"
            autocomplete="username"
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
      </p>
      <p>
        <label>
          Password, at least 8 characters
          <br />
          <input
            required
            type="password"
            minLength={8}
            maxLength={200}
            autocomplete="current-password"
            value={password}
            onInput={(event) => setPassword(event.currentTarget.value)}
          />
        </label>
      </p>
      <p class="row">
        <button type="submit" value="login">
          Log in
        </button>
        <button type="submit" value="register" class="plain">
          Register
        </button>
        <button type="button" class="plain" onClick={() => void enter('/sessions/visitor', { token: visitorToken() })}>
          Visit without an account
        </button>
      </p>
    </form>
  );
}

/** What a sign-in service would give; a browser that lost its session is another visitor. */
const visitorToken = (): string => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(36)).join('-');
