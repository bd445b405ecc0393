/** The contract against a real Spread daemon, where `SPREAD_DAEMON` names one: no package of Spread can be counted on, so nothing here starts it. */
import { startTcpProxy, type TcpProxy } from '@lab/testing';
import { expect, test } from 'vitest';
import { groupContract, type Fixture } from '../../src/contract.ts';
import { makeSpreadGroup, type Features, type Group } from '../../src/index.ts';

const daemon = process.env['SPREAD_DAEMON'];
const features: Features = { history: false, primaryPartition: false, uniqueIds: false, bodyBytesMax: 100_000 };

async function makeFixture(host: string, port: number): Promise<Fixture> {
  const processes = new Map<Group, TcpProxy>();
  return {
    async connect() {
      const proxy = await startTcpProxy({ target: { host, port } });
      const group = makeSpreadGroup({ daemon: `${proxy.host}:${proxy.port}` });
      processes.set(group, proxy);
      return group;
    },
    async kill(group) {
      await processes.get(group)?.[Symbol.asyncDispose]();
      processes.delete(group);
      // The dead process' memory of it, cleared up beside the test: the daemon never hears of it.
      void group.close();
    },
    async stop() {
      for (const proxy of processes.values()) await proxy[Symbol.asyncDispose]();
    },
  };
}

test('SPREAD_DAEMON, where it is set, is HOST:PORT', () => {
  expect(daemon ?? 'localhost:4803').toMatch(/^[^:]+:\d{1,5}$/);
  expect(makeSpreadGroup({ daemon: daemon ?? 'localhost:4803' }).features).toEqual(features);
});

if (daemon !== undefined) {
  const [host = '', port] = daemon.split(':');
  groupContract(`spread at ${daemon}`, features, () => makeFixture(host, Number(port)));
}
