export * from './port.ts';
export * from './errors.ts';
export { Loss } from './loss.ts';
export { deathQueueHeader, deathReasonHeader, diedOfBroker } from './failures.ts';
export { makeMemoryBroker, makeMemoryServer, type MemoryServer, type MemoryServerOptions } from './memory/server.ts';
export { beginRabbitmq, connectRabbitmq } from './rabbitmq/broker.ts';
export type { RabbitmqOptions } from './rabbitmq/options.ts';
export { SimulatedCrash } from './failures.ts';
export * from './patterns/index.ts';
