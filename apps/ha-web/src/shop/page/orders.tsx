/** Orders and what became of them. */
import { useEffect, useState } from 'preact/hooks';
import type { Order } from '../messages.ts';
import { euros, useShop } from './shop.ts';

const words: Readonly<Record<Order['status'], string>> = {
  placed: 'placed, not paid yet',
  paid: 'paid, waiting for the carrier',
  shipped: 'shipped',
};
const when = (order: Order): string => new Date(order.placedAt).toLocaleString();

export function Orders() {
  const { load } = useShop();
  const [orders, setOrders] = useState<Order[] | undefined>();
  useEffect(() => void load<Order[]>('/orders').then(setOrders), [load]);
  if (orders === undefined) return <p>Looking…</p>;
  if (orders.length === 0) return <p>You have not ordered anything yet.</p>;
  return (
    <ul class="cards" aria-label="Orders">
      {orders.map((order) => (
        <li key={order.id}>
          <h2>
            <a href={`#/orders/${order.id}`}>Order {order.id}</a>
          </h2>
          <p>
            {euros(order.totalCents)}, {words[order.status]}
          </p>
          <p class="quiet">{when(order)}</p>
        </li>
      ))}
    </ul>
  );
}

export function OrderView({ id }: { id: string }) {
  const { client, load, run, tell } = useShop();
  const [order, setOrder] = useState<Order | undefined>();
  useEffect(() => void load<Order>(`/orders/${id}`).then(setOrder), [load, id]);
  if (order === undefined) return <p>Looking…</p>;
  const pay = (): Promise<void> =>
    run(() => client.send<Order>('POST', `/orders/${id}/payment`)).then((paid) => {
      if (paid === undefined) return;
      setOrder(paid);
      tell(`Order ${id} is paid.`);
    });
  return (
    <div class="panel">
      <p>
        Status: <b id="order-status">{words[order.status]}</b>
      </p>
      <ul>
        {order.items.map((item) => (
          <li key={item.productId}>
            {item.quantity} × {item.name}, {euros(item.priceCents * item.quantity)}
          </li>
        ))}
      </ul>
      <p>
        Total {euros(order.totalCents)}, to {order.deliverTo}. <span class="quiet">{when(order)}</span>
      </p>
      {order.status === 'placed' && (
        <button type="button" onClick={() => void pay()}>
          Pay {euros(order.totalCents)} (a stand-in: no money moves)
        </button>
      )}
    </div>
  );
}
