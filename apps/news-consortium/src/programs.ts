/** Every program of the system: the roles, the client, the demo. Each loads what it needs when it is chosen. */
import { hostname } from 'node:os';
import { command, runProgram, runRole, type Command, type ProgramProcess, type RoleHost } from '@lab/process';
import { ordinaryCost } from '@lab/process/passwords';
import { clientCommands } from './client/commands.ts';
import * as config from './config.ts';
import type { Observe } from './wire/serving.ts';
import type { Host, ServingRole } from './wiring.ts';

/** One role in this process, under the name of its machine where it is given none. */
function run<C extends config.AgentConfig | config.NodeConfig>(
  settings: C,
  make: (host: Host, settings: C & { name: string }) => ServingRole,
): Promise<number> {
  const named = { ...settings, name: settings.name ?? hostname() };
  return runRole(named, async (host) => {
    return make({ ...host, scryptCost: ordinaryCost, observe: await measuring(host) }, named);
  });
}

/** For `/metrics`. */
async function measuring({ registry }: RoleHost): Promise<Observe> {
  const { Histogram } = await import('prom-client');
  const requests = new Histogram({
    ...{ name: 'news_request_seconds', help: 'requests by kind and how they ended; of a watch, how long it lasted' },
    ...{ labelNames: ['kind', 'outcome'], registers: [registry] },
  });
  return (kind, outcome, tookMs) => requests.observe({ kind, outcome }, tookMs / 1_000);
}

const commands: Record<string, Command> = {
  demo: command({
    summary:
      'the whole system in one process, on a PostgreSQL of its own: two users and an administrator, and plugs that are pulled',
    settings: config.demoConfig,
    run: async (settings) => (await import('./demo.ts')).demo(settings),
  }),
  agent: command({
    summary: 'logs users in, registers nodes and distributes areas over them',
    settings: config.agentConfig,
    run: async (settings) => run(settings, (await import('./wiring.ts')).makeAgent),
  }),
  node: command({
    summary: 'serves the news of the areas that it is assigned',
    settings: config.nodeConfig,
    run: async (settings) => run(settings, (await import('./wiring.ts')).makeNode),
  }),
  client: clientCommands({ stdin: process.stdin, stdout: process.stdout, stderr: process.stderr }),
};

export const main = (host: ProgramProcess): Promise<number> => runProgram(commands, host);
