/** The page: which view is shown, who is logged in, and the order that is on its way. */
import { render, type ComponentChildren } from 'preact';
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { About, Account, Current, Order, OrderRequest } from '../messages.ts';
import { LogIn } from './account.tsx';
import { BasketView } from './basket.tsx';
import { Producers, Products } from './catalogue.tsx';
import { Client, RefusedError, type Answered } from './client.ts';
import { OrderView, Orders } from './orders.tsx';
import { OrderDesk, type PendingOrder } from './pending-order.ts';
import { ShopContext, useShop, type Shop } from './shop.ts';

/** `crypto.randomUUID` exists behind TLS only. */
const newKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

/** After the client's own tries have failed: soon enough for who waits, rarely enough for who is ill. */
const sendAgainMs = 5_000;

const titles: Readonly<Record<string, string>> = {
  products: 'Products',
  producers: 'Producers',
  basket: 'Basket',
  orders: 'Orders',
  login: 'Log in',
};

/** `#/orders/12` */
function useRoute(): readonly [view: string, id: string | undefined] {
  const read = (): readonly [string, string | undefined] => {
    const [, view = '', id] = location.hash.split('/');
    return [view in titles ? view : 'products', id];
  };
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const onChange = (): void => setRoute(read());
    addEventListener('hashchange', onChange);
    return () => removeEventListener('hashchange', onChange);
  }, []);
  return route;
}

/** One client for the life of the page; what it notices is state. */
function useClient() {
  const [answered, setAnswered] = useState<Answered>({ webServer: '', balancer: '', database: '' });
  const [isLate, setLate] = useState(false);
  const [{ client, desk }] = useState(() => {
    const client = new Client({
      fetch: (path, init) => fetch(path, init),
      nowMs: () => performance.now(),
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      onAnswer: (each) => {
        setLate(false);
        setAnswered((last) => ({ ...each, database: each.database || last.database }));
      },
      onRetry: () => setLate(true),
    });
    return { client, desk: new OrderDesk(client, localStorage, newKey) };
  });
  return { client, desk, answered, isLate };
}

/** Who is logged in (`undefined` while that is asked, `null`: nobody), what is told, and how things are asked for. */
function useSession(client: Client) {
  const [account, setAccount] = useState<Account | null | undefined>();
  const [message, setMessage] = useState({ text: '', isProblem: false });
  const tell = useCallback((text: string) => setMessage({ text, isProblem: false }), []);
  const fail = useCallback((error: unknown) => {
    if (error instanceof RefusedError && error.problem.type.endsWith('not-logged-in')) setAccount(null);
    setMessage({ text: error instanceof Error ? error.message : String(error), isProblem: true });
  }, []);
  const load = useCallback(
    <T,>(path: string): Promise<T | undefined> => client.get<T>(path).catch((error: unknown) => (fail(error), undefined)),
    [client, fail],
  );
  const run = useCallback(
    <T,>(work: () => Promise<T>): Promise<T | undefined> => {
      tell('');
      return work().catch((error: unknown) => (fail(error), undefined));
    },
    [fail, tell],
  );
  // Whoever has logged in or out before this is answered knows better.
  const learn = (current: Current | undefined): void =>
    setAccount((known) => (known === undefined ? (current?.account ?? null) : known));
  useEffect(() => void load<Current>('/sessions/current').then(learn), [load]);
  return { account, setAccount, message, tell, fail, load, run };
}

function App() {
  const [view, id] = useRoute();
  const { client, desk, answered, isLate } = useClient();
  const { account, message, fail, ...session } = useSession(client);
  const { tell } = session;
  const [pending, setPending] = useState<PendingOrder | undefined>();
  useEffect(() => setPending(account ? desk.pending(account.id) : undefined), [account, desk]);

  const placeOrder = (order: OrderRequest): void => {
    if (account) setPending(desk.write(account.id, order));
  };
  const onPlaced = useCallback(
    (order: Order) => {
      setPending(undefined);
      location.hash = `#/orders/${order.id}`;
      tell(`Order ${order.id} is placed.`);
    },
    [tell],
  );
  const onRefused = useCallback((error: unknown) => (setPending(undefined), fail(error)), [fail]);

  const shop: Shop = { client, account: account ?? undefined, ...session, placeOrder, isOrdering: pending !== undefined };
  return (
    <ShopContext.Provider value={shop}>
      <Header view={view} />
      <main id="main" tabIndex={-1}>
        {pending !== undefined && (
          <Sending key={pending.key} desk={desk} pending={pending} onPlaced={onPlaced} onRefused={onRefused} />
        )}
        <p class={`notice${message.isProblem ? ' problem' : ''}`} role="status" aria-live="polite">
          {isLate ? 'No answer yet. Trying again…' : message.text}
        </p>
        <View title={view === 'orders' && id ? `Order ${id}` : titles[view]!}>
          {view === 'products' && <Products producer={id} key={id} />}
          {view === 'producers' && <Producers />}
          {view === 'login' && <LogIn />}
          {view === 'basket' && <Private account={account}>{() => <BasketView />}</Private>}
          {view === 'orders' && <Private account={account}>{() => (id ? <OrderView id={id} key={id} /> : <Orders />)}</Private>}
        </View>
      </main>
      <Footer answered={answered} />
    </ShopContext.Provider>
  );
}

function Header({ view }: { view: string }) {
  const { tell } = useShop();
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), document.querySelector('main')?.focus())}>
        To the content
      </a>
      <header>
        <span class="brand">Marketplace</span>
        <nav aria-label="Main" onClick={() => tell('')}>
          {['products', 'producers', 'basket', 'orders'].map((each) => (
            <a key={each} href={`#/${each}`} aria-current={each === view ? 'page' : undefined}>
              {titles[each]}
            </a>
          ))}
        </nav>
        <Who />
      </header>
    </>
  );
}

function Footer({ answered }: { answered: Answered }) {
  const { load } = useShop();
  const [about, setAbout] = useState<About | undefined>();
  useEffect(() => void load<About>('/about').then(setAbout), [load]);
  return (
    <footer>
      <p>
        Answered by web server <b id="web-server">{answered.webServer || '–'}</b>, balancer{' '}
        <b id="balancer">{answered.balancer || '–'}</b>, database <b id="database">{answered.database || '–'}</b>.{' '}
        <a href="/api/docs">API</a>
      </p>
      <ul>
        {about?.standIns.map((each) => (
          <li key={each}>{each}</li>
        ))}
      </ul>
    </footer>
  );
}

function Who() {
  const { account, client, run, setAccount } = useShop();
  const logOut = (): Promise<unknown> => run(async () => (await client.send('DELETE', '/sessions/current'), setAccount(null)));
  if (account === undefined) return <a href="#/login">Log in</a>;
  return (
    <span>
      <span class="quiet">{account.name.startsWith('visitor-') ? 'a visitor' : account.name}</span>{' '}
      <button type="button" class="plain" onClick={() => void logOut()}>
        Log out
      </button>
    </span>
  );
}

/** Who goes to another view finds the focus at its heading, as after loading a page. */
function View({ title, children }: { title: string; children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  const isFirst = useRef(true);
  // At once: after painting, somebody quick has put the focus elsewhere.
  useLayoutEffect(() => {
    document.title = `${title} · Marketplace`;
    if (!isFirst.current) heading.current?.focus();
    isFirst.current = false;
  }, [title]);
  return (
    <>
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {children}
    </>
  );
}

function Private({ account, children }: { account: Account | null | undefined; children: () => ComponentChildren }) {
  if (account === undefined) return <p>One moment…</p>;
  if (account === null) return <LogIn />;
  return <>{children()}</>;
}

interface SendingProps {
  desk: OrderDesk;
  pending: PendingOrder;
  onPlaced: (order: Order) => void;
  onRefused: (error: unknown) => void;
}

/** Sends the order until it is answered, by itself and when it is told to. */
function Sending({ desk, pending, onPlaced, onRefused }: SendingProps) {
  const [isBusy, setBusy] = useState(false);
  const send = useCallback(async () => {
    setBusy(true);
    try {
      onPlaced(await desk.send(pending));
    } catch (error) {
      setBusy(false);
      if (error instanceof RefusedError) onRefused(error);
    }
  }, [desk, pending, onPlaced, onRefused]);
  useEffect(() => void send(), [pending]);
  useEffect(() => {
    if (isBusy) return undefined;
    const timer = setTimeout(() => void send(), sendAgainMs);
    return () => clearTimeout(timer);
  }, [isBusy, send]);
  return (
    <section class="panel pending" aria-label="Order on its way" aria-live="polite">
      <p>Your order is on its way. It is placed once, however often it is sent; you may reload or close this page.</p>
      <button type="button" disabled={isBusy} onClick={() => void send()}>
        {isBusy ? 'Sending…' : 'Send now'}
      </button>
    </section>
  );
}

render(<App />, document.getElementById('app')!);
