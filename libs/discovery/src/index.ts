export * from './port.ts';
export { makeMemoryRegistry, type MemoryRegistry, type MemoryRegistryOptions, type RegistryClock } from './memory/registry.ts';
export { connectZookeeper } from './zookeeper/discovery.ts';
export type { ZookeeperLogger, ZookeeperOptions } from './zookeeper/options.ts';
