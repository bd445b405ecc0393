/** `npx nx scale ha-web --web 5` and `npx nx rolling-update ha-web`, of the system that `npx nx up` has started. */
import { parseArgs } from 'node:util';
import { ensureEngine, say } from '../../../docker/engine.ts';
import { ordinary, System } from './drill/system.ts';

const webMax = 20;

async function runningSystem(): Promise<System> {
  await ensureEngine();
  const system = await System.of(ordinary);
  if ((await system.webServers()).length === 0) throw new Error('it does not run: npx nx up ha-web starts it');
  return system;
}

async function scale(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { web: { type: 'string' } } });
  const web = Number(values.web);
  if (!Number.isInteger(web) || web < 1 || web > webMax)
    throw new RangeError(`--web is "${values.web ?? ''}": how many web servers there are to be, from 1 to ${webMax}`);
  const system = await runningSystem();
  await system.scale(web);
  console.log(`web servers that take requests at ${system.url}: ${web}`);
}

/** The web servers get the image of what the source is now. */
async function rollingUpdate(): Promise<void> {
  const system = await runningSystem();
  await system.update((server) => console.log(`${server} is new and takes requests`));
}

const [action, ...args] = process.argv.slice(2);
const actions: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = { scale, 'rolling-update': rollingUpdate };
try {
  await actions[action ?? '']!(args);
} catch (error) {
  say((error as Error).message);
  process.exitCode = error instanceof RangeError || error instanceof TypeError ? 2 : 1;
}
