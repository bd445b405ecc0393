import { brokerContract } from './contract.ts';
import { makeFaulty } from './faulty.ts';
import { makeMemoryServer } from './memory/server.ts';
import type { Broker } from './port.ts';

const neverRandom = {
  next: (): number => {
    throw new Error('a broker without faults asked for chance');
  },
};
const noClock = {
  after: (): void => {
    throw new Error('a broker without faults asked for time');
  },
};

brokerContract('faulty with no faults', async () => {
  const server = makeMemoryServer();
  const inner = new Map<Broker, Broker>();
  return {
    connect: async () => {
      const broker = server.connect();
      const faulty = makeFaulty(broker, { random: neverRandom, clock: noClock });
      inner.set(faulty, broker);
      return faulty;
    },
    kill: async (faulty) => server.kill(inner.get(faulty) ?? faulty),
    stop: async () => {},
  };
});
