/** The basket, and the order that is made of it. */
import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import type { Basket } from '../messages.ts';
import { euros, useShop } from './shop.ts';

export function BasketView() {
  const { client, load, run, isOrdering } = useShop();
  const [basket, setBasket] = useState<Basket | undefined>();
  useEffect(() => void load<Basket>('/basket').then(setBasket), [load, isOrdering]);
  if (basket === undefined) return <p>Looking…</p>;
  if (basket.items.length === 0) {
    return (
      <p>
        Your basket is empty. <a href="#/products">Look at the products</a>
      </p>
    );
  }
  const change = (id: number, quantity: number): Promise<void> =>
    run(() => client.send<Basket>('PUT', `/basket/items/${id}`, { quantity })).then((changed) => changed && setBasket(changed));
  return (
    <>
      <table>
        <caption class="quiet">What you are about to order</caption>
        <thead>
          <tr>
            <th scope="col">Product</th>
            <th scope="col">Quantity</th>
            <th scope="col" class="number">
              Price
            </th>
          </tr>
        </thead>
        <tbody>
          {basket.items.map(({ product, quantity }) => (
            <tr key={product.id}>
              <th scope="row">{product.name}</th>
              <td class="row">
                <Quantity name={product.name} quantity={quantity} onChange={(wanted) => void change(product.id, wanted)} />
                <button
                  type="button"
                  class="plain"
                  aria-label={`Remove ${product.name}`}
                  onClick={() => void change(product.id, 0)}
                >
                  Remove
                </button>
              </td>
              <td class="number">{euros(product.priceCents * quantity)}</td>
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row" colSpan={2}>
              Total
            </th>
            <td class="number">{euros(basket.totalCents)}</td>
          </tr>
        </tfoot>
      </table>
      <OrderForm basket={basket} />
    </>
  );
}

interface QuantityProps {
  name: string;
  quantity: number;
  onChange: (wanted: number) => void;
}

/** What is being typed stays, also when the basket arrives anew meanwhile. */
function Quantity({ name, quantity, onChange }: QuantityProps) {
  const [typed, setTyped] = useState(String(quantity));
  // At once: an effect after painting takes back what somebody quick, or on a busy machine, has typed by then.
  useLayoutEffect(() => setTyped(String(quantity)), [quantity]);
  return (
    <input
      type="number"
      required
      min={1}
      max={99}
      value={typed}
      aria-label={`Quantity of ${name}`}
      onInput={(event) => setTyped(event.currentTarget.value)}
      onChange={(event) => event.currentTarget.reportValidity() && onChange(event.currentTarget.valueAsNumber)}
    />
  );
}

function OrderForm({ basket }: { basket: Basket }) {
  const { placeOrder, isOrdering } = useShop();
  const [deliverTo, setDeliverTo] = useState('');
  const onSubmit = (event: Event): void => {
    event.preventDefault();
    const items = basket.items.map(({ product, quantity }) => ({ productId: product.id, quantity }));
    placeOrder({ items, totalCents: basket.totalCents, deliverTo: deliverTo.trim() });
  };
  return (
    <form onSubmit={onSubmit}>
      <p>
        <label>
          Deliver to (name, street, town)
          <br />
          <textarea
            required
            minLength={5}
            maxLength={200}
            rows={2}
            autocomplete="street-address"
            value={deliverTo}
            onInput={(event) => setDeliverTo(event.currentTarget.value)}
          />
        </label>
      </p>
      <button type="submit" disabled={isOrdering}>
        Order for {euros(basket.totalCents)}
      </button>
    </form>
  );
}
