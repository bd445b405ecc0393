/** Products and producers. */
import { useEffect, useState } from 'preact/hooks';
import type { Basket, Producer, Product, ProductPage } from '../messages.ts';
import { euros, useShop } from './shop.ts';

const pageSize = 12;

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

export function Products({ producer }: { producer: string | undefined }) {
  const { load } = useShop();
  const [search, setSearch] = useState('');
  const [page, setPage] = useState(1);
  const [found, setFound] = useState<ProductPage | undefined>();
  const find = (words: string): void => {
    setSearch(words);
    setPage(1);
  };
  useEffect(() => {
    let isCurrent = true;
    const query = new URLSearchParams({
      search,
      page: String(page),
      size: String(pageSize),
      ...(producer !== undefined && { producer }),
    });
    void load<ProductPage>(`/products?${query.toString()}`).then((result) => {
      if (isCurrent && result !== undefined) setFound(result);
    });
    return () => void (isCurrent = false);
  }, [load, search, page, producer]);
  const pages = Math.max(1, Math.ceil((found?.total ?? 0) / pageSize));
  return (
    <>
      <form role="search" class="row" onSubmit={(event) => event.preventDefault()}>
        <label>
          Search products
          <br />
          <input type="search" value={search} maxLength={60} onInput={(event) => find(event.currentTarget.value)} />
        </label>
        {producer !== undefined && <a href="#/products">All producers</a>}
      </form>
      <p role="status" aria-live="polite">
        {found === undefined ? 'Looking…' : `${counted(found.total, 'product')}, page ${page} of ${pages}`}
      </p>
      <ul class="cards" aria-label="Products">
        {found?.products.map((product) => (
          <ProductCard key={product.id} product={product} />
        ))}
      </ul>
      <nav aria-label="Pages" class="row">
        <button type="button" class="plain" disabled={page <= 1} onClick={() => setPage(page - 1)}>
          Previous page
        </button>
        <button type="button" class="plain" disabled={page >= pages} onClick={() => setPage(page + 1)}>
          Next page
        </button>
      </nav>
    </>
  );
}

function ProductCard({ product }: { product: Product }) {
  const { client, account, run, tell } = useShop();
  const add = async (): Promise<void> => {
    if (account === undefined) return void (location.hash = '#/login');
    await run(async () => {
      const basket = await client.get<Basket>('/basket');
      const quantity = (basket.items.find((item) => item.product.id === product.id)?.quantity ?? 0) + 1;
      await client.send('PUT', `/basket/items/${product.id}`, { quantity });
      tell(`${product.name}: ${quantity} in your basket.`);
    });
  };
  return (
    <li>
      <h2>{product.name}</h2>
      <p>
        {euros(product.priceCents)} <span class="quiet">for {product.unit}</span>
      </p>
      <p class="quiet">
        <a href={`#/products/${product.producer.id}`}>{product.producer.name}</a>, {product.stock} in stock
      </p>
      <button
        type="button"
        disabled={product.stock === 0}
        onClick={() => void add()}
        aria-label={`Put ${product.name} into the basket`}
      >
        Into the basket
      </button>
    </li>
  );
}

export function Producers() {
  const { load } = useShop();
  const [producers, setProducers] = useState<Producer[] | undefined>();
  useEffect(() => void load<Producer[]>('/producers').then(setProducers), [load]);
  if (producers === undefined) return <p>Looking…</p>;
  return (
    <ul class="cards" aria-label="Producers">
      {producers.map((producer) => (
        <li key={producer.id}>
          <h2>{producer.name}</h2>
          <p>{producer.about}</p>
          <p>
            <a href={`#/products/${producer.id}`}>
              {counted(producer.products, 'product')} of {producer.name}
            </a>
          </p>
          <details>
            <summary>Where it is: {producer.place}</summary>
            <img
              src={`/api/producers/${producer.id}/map.svg`}
              loading="lazy"
              width="160"
              height="216"
              alt={`A dot on a grid, at ${producer.place}`}
            />
            <p class="quiet">A drawing that stands in for a map.</p>
          </details>
        </li>
      ))}
    </ul>
  );
}
