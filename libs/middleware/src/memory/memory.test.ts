import { brokerContract } from '../contract.ts';
import { makeMemoryServer } from './server.ts';

brokerContract('memory', async () => {
  const server = makeMemoryServer();
  return { connect: async () => server.connect(), kill: async (broker) => server.kill(broker), stop: async () => {} };
});
