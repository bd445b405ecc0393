export * from './port.ts';
export { makeMemoryRegistry, type MemoryRegistry, type MemoryRegistryOptions } from './memory/registry.ts';
export { tracedDiscovery } from './traced.ts';
export { connectZookeeper } from './zookeeper/discovery.ts';
export type { ZookeeperOptions } from './zookeeper/options.ts';
