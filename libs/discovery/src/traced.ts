/** A registry whose calls leave spans, and whose leaders are noted. What `watch` shows is nobody's call, and leaves none. */
import { note, tracedCall, type Tracer } from '@lab/tracing';
import type { Discovery } from './port.ts';

/** The registry with spans; without a tracer the registry itself. */
export function tracedDiscovery(discovery: Discovery, tracer: Tracer | undefined): Discovery {
  if (tracer === undefined) return discovery;
  const call = <T>(method: string, what: string, run: () => Promise<T>): Promise<T> =>
    tracedCall(
      tracer,
      `${method} ${what}`,
      { attributes: { 'rpc.system': 'discovery', 'rpc.method': method, 'lab.message': `${method} ${what}` } },
      run,
    );
  return {
    announce: (service, ...rest) => call('announce', service, () => discovery.announce(service, ...rest)),
    list: (service) => call('list', service, () => discovery.list(service)),
    watch: (service) => discovery.watch(service),
    async elect(role, name, options) {
      // No call as others: it may wait for as long as others lead.
      const leadership = await discovery.elect(role, name, options);
      const turn = `${role}, epoch ${leadership.epoch}`;
      note(tracer, `leads ${turn}`);
      void leadership.lost.then(() => note(tracer, `leads no more: ${turn}`));
      return leadership;
    },
    record(name) {
      const record = discovery.record(name);
      return {
        read: () => call('read', name, () => record.read()),
        write: (text, version) => call('write', name, () => record.write(text, version)),
        watch: () => record.watch(),
      };
    },
    close: () => discovery.close(),
  };
}
