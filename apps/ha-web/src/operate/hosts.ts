/** What an operator types on a database machine. */
import { connectZookeeper } from '@lab/discovery';
import { systemClock } from '@lab/process';
import type { z } from 'zod';
import type * as config from '../config.ts';
import { foldersOf } from '../database/folders.ts';
import { Operator } from './operator.ts';

type AgentSettings = z.infer<typeof config.agent>;

export const hosts = {
  verify: (settings: AgentSettings) => operate(settings, (operator) => operator.verify()),
  takeover: (settings: AgentSettings) => operate(settings, (operator) => operator.takeover()),
  newMaster: (settings: z.infer<typeof config.newMaster>) => operate(settings, (operator) => operator.newMaster(settings.force)),
  newSlave: (settings: AgentSettings) => operate(settings, (operator) => operator.newSlave()),
  initSlave: (settings: AgentSettings) => operate(settings, (operator) => operator.initSlave()),
};

/** An operator would rather know soon that ZooKeeper is away. */
const operatorMs = 10_000;

async function operate(settings: AgentSettings, work: (operator: Operator) => Promise<void>): Promise<void> {
  const { name, peerName, peerAddress, agentPort, dataFolder, zookeeper } = settings;
  const discovery = connectZookeeper({ servers: zookeeper, connectTimeoutMs: operatorMs });
  discovery.catch(() => undefined);
  const operator = new Operator({
    ...{ name, peerName, discovery, folders: foldersOf(dataFolder), clock: systemClock },
    ownAgent: `http://127.0.0.1:${agentPort}`,
    peerAgent: `http://${peerAddress}:${agentPort}`,
    print: (line) => void process.stdout.write(`${line}\n`),
  });
  try {
    await work(operator);
  } finally {
    await discovery.then(
      (connected) => connected.close(),
      () => undefined,
    );
  }
}
