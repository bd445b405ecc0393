/** Every program of the system: the roles, the client, the demo. Each loads what it needs when it is chosen. */
import { command, runProgram, type Command, type ProgramProcess } from '@lab/process';
import { clientCommands } from './client/commands.ts';
import * as config from './config.ts';

const hosts = (): Promise<typeof import('./hosts.ts')> => import('./hosts.ts');

const commands: Record<string, Command> = {
  demo: command({
    summary:
      'the whole system in one process, on a PostgreSQL of its own: two users and an administrator, and plugs that are pulled',
    settings: config.demoConfig,
    run: async () => (await import('./demo.ts')).demo(),
  }),
  agent: command({
    summary: 'logs users in, registers nodes and distributes areas over them',
    settings: config.agentConfig,
    run: async (settings) => (await hosts()).runAgent(settings),
  }),
  node: command({
    summary: 'serves the news of the areas that it is assigned',
    settings: config.nodeConfig,
    run: async (settings) => (await hosts()).runNode(settings),
  }),
  client: clientCommands({ stdin: process.stdin, stdout: process.stdout, stderr: process.stderr }),
};

export const main = (host: ProgramProcess): Promise<number> => runProgram(commands, host);
