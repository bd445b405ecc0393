/** What the broker's contract does to a RabbitMQ: connections through proxies, which it breaks. */
import { startTcpProxy, type TcpProxy } from '@lab/testing';
import type { RabbitmqServer } from '@lab/testing/containers';
import type { Fixture } from '../src/contract.ts';
import { connectRabbitmq, type Broker } from '../src/index.ts';

export type Disturb = (proxies: Iterable<TcpProxy>) => Promise<void>;

/** In front of the server, to break connections on the way. */
export const proxyOf = (server: RabbitmqServer): Promise<TcpProxy> =>
  startTcpProxy({ target: { host: '127.0.0.1', port: server.port } });

export function urlAt(server: RabbitmqServer, proxy: TcpProxy): string {
  const url = new URL(server.url);
  url.port = String(proxy.port);
  return url.href;
}

export const cutAll: Disturb = async (proxies) => {
  for (const proxy of proxies) proxy.reset();
};

/** Every connection has a proxy of its own: a process that dies takes nothing else with it. */
export async function rabbitmqFixture(server: RabbitmqServer, disturb?: Disturb): Promise<Fixture> {
  const proxies = new Map<Broker, TcpProxy>();
  return {
    async connect() {
      const proxy = await proxyOf(server);
      // After a restart the next try to connect may be 5 s away.
      const broker = await connectRabbitmq({ url: urlAt(server, proxy), closeTimeoutMs: 15_000 });
      proxies.set(broker, proxy);
      return broker;
    },
    async kill(broker) {
      await proxies.get(broker)?.[Symbol.asyncDispose]();
      proxies.delete(broker);
      // The dead process' memory of it, cleared up beside the test: the broker never hears of it.
      void broker.close();
    },
    ...(disturb && { disturb: () => disturb(proxies.values()) }),
    async stop() {
      for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]();
    },
  };
}
