/** Every program of the system: the roles, the configurator, the client, the demo. Each loads what it needs when it is chosen. */
import { command, runProgram, type Command, type ProgramProcess } from '@lab/process';
import { clientCommands } from './client/commands.ts';
import * as config from './config.ts';

const hosts = (): Promise<typeof import('./hosts.ts')> => import('./hosts.ts');
const stdout = (text: string): void => void process.stdout.write(text);

const commands: Record<string, Command> = {
  demo: command({
    summary: 'the whole system in one process: uploads, tags, searches, downloads, checks',
    settings: config.demoConfig,
    run: async (settings) => (await import('./demo.ts')).demo(settings),
  }),
  registry: command({
    summary: 'sends clients to servers',
    settings: config.registryConfig,
    run: async (settings) => (await hosts()).runRegistry(settings),
  }),
  server: command({
    summary: 'takes pictures and gives them back',
    settings: config.serverConfig,
    run: async (settings) => (await hosts()).runServer(settings),
  }),
  worker: command({
    summary: 'marks pictures with their keywords',
    settings: config.workerConfig,
    run: async (settings) => (await hosts()).runWorker(settings),
  }),
  configurator: command({
    summary: 'declares exchange, queue and binding in RabbitMQ',
    settings: config.configuratorConfig,
    run: async (settings) => (await hosts()).runConfigurator(settings),
  }),
  client: clientCommands(stdout),
};

export const main = (host: ProgramProcess): Promise<number> => runProgram(commands, host);
