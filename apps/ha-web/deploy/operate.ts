/** `npx nx up ha-web`, `npx nx scale ha-web --web 5` and `npx nx rolling-update ha-web`. */
import { join } from 'node:path';
import { command, ExitError, exitCodes, runProgram } from '@lab/process';
import { z } from 'zod';
import { up } from '../../../docker/compose.ts';
import { ensureEngine } from '../../../docker/engine.ts';
import { System } from './drill/system.ts';

/** As in compose.yaml; a second system on this machine needs others. */
const addresses = {
  externalPrefix: process.env['EXTERNAL_PREFIX'] ?? '10.89.0',
  internalPrefix: process.env['INTERNAL_PREFIX'] ?? '10.89.1',
};

/** Returns when everything works, the replica in sync. */
const start = (): Promise<void> => up(join(import.meta.dirname, '..'), [], async () => (await System.of(addresses)).whole());

async function runningSystem(): Promise<System> {
  await ensureEngine();
  const system = await System.of(addresses);
  if ((await system.webServers()).length === 0) throw new Error('it does not run: npx nx up ha-web starts it');
  return system;
}

async function scale({ web }: { web: number }): Promise<void> {
  const system = await runningSystem();
  await system.scale(web);
  console.log(`web servers that take requests at ${system.url}: ${web}`);
}

async function rollingUpdate(): Promise<void> {
  const system = await runningSystem();
  await system.update((server) => console.log(`${server} has made room for a new one`));
}

/** What an engine says is for whoever has typed the command, without a stack. */
const inWords = (error: Error): never => {
  throw new ExitError(error.message, exitCodes.failed, { cause: error });
};

const commands = {
  up: command({
    summary: 'starts all machines, and waits until everything works',
    settings: z.object({}),
    run: () => start().catch(inWords),
  }),
  scale: command({
    summary: 'starts or stops web servers, until there are so many',
    settings: z
      .object({
        web: z
          .string()
          .regex(/^([1-9]|1\d|20)$/, 'a number from 1 to 20')
          .transform(Number)
          .describe('how many web servers there are to be, from 1 to 20'),
      })
      .meta({ environment: false }),
    run: (settings) => scale(settings).catch(inWords),
  }),
  'rolling-update': command({
    summary: 'gives the web servers, one after the other, the image of what the source is now',
    settings: z.object({}),
    run: () => rollingUpdate().catch(inWords),
  }),
};

const { argv, stdout, stderr } = process;
process.exitCode = await runProgram(commands, { argv, env: {}, stdout, stderr });
