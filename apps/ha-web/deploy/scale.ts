/** `npx nx scale ha-web --web 5`: so many web servers, of the system that `npx nx up` has started. */
import { parseArgs } from 'node:util';
import { ordinary, System } from './drill/system.ts';

const { values } = parseArgs({ options: { web: { type: 'string' } } });
const web = Number(values.web);
if (Number.isInteger(web) && web >= 1 && web <= 20) {
  const system = await System.of(ordinary);
  await system.scale(web);
  console.log(`${web} web servers take requests at ${system.url}`);
} else {
  console.error(`--web is "${values.web ?? ''}": how many web servers there are to be, from 1 to 20`);
  process.exitCode = 2;
}
