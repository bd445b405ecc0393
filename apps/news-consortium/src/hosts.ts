/** Processes: one role on the real parts. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { makeLogger, runProcess, systemClock, type RunOptions } from '@lab/process';
import { ordinaryCost } from '@lab/process/passwords';
import { Registry } from 'prom-client';
import type { AgentConfig, NodeConfig } from './config.ts';
import { makeAgent, makeNode, type Host } from './wiring.ts';

function prepare({ name = hostname(), logLevel, healthPort }: Pick<NodeConfig, 'name' | 'logLevel' | 'healthPort'>) {
  const log = makeLogger({ name, level: logLevel });
  const host: Host = { clock: systemClock, nowMs: Date.now, newId: randomUUID, scryptCost: ordinaryCost, log };
  const options: RunOptions = {
    log,
    ...(healthPort !== undefined && { health: { port: healthPort, registry: new Registry() } }),
  };
  return { name, host, options };
}

export async function runAgent(settings: AgentConfig): Promise<number> {
  const { name, host, options } = prepare(settings);
  return runProcess([{ name: 'agent', role: makeAgent(host, { ...settings, name }) }], options);
}

export async function runNode(settings: NodeConfig): Promise<number> {
  const { name, host, options } = prepare(settings);
  return runProcess([{ name: 'node', role: makeNode(host, { ...settings, name }) }], options);
}
