/** `npx nx scale ha-web --web 5` and `npx nx rolling-update ha-web`, of the system that `npx nx up` has started. */
import { command, ExitError, exitCodes, runMain } from '@lab/process';
import { z } from 'zod';
import { ensureEngine } from '../../../docker/engine.ts';
import { ordinary, System } from './drill/system.ts';

async function runningSystem(): Promise<System> {
  await ensureEngine();
  const system = await System.of(ordinary);
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
  await system.update((server) => console.log(`${server} is new and takes requests`));
}

/** What an engine says is for whoever has typed the command, without a stack. */
const inWords = (error: Error): never => {
  throw new ExitError(error.message, exitCodes.failed, { cause: error });
};

const commands = {
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

process.exitCode = await runMain('operate.ts', commands, {
  args: process.argv.slice(2),
  env: {},
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
});
