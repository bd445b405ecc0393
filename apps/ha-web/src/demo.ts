/** The machines of compose.yaml under load, while one of each kind is lost in turn; and the table of what was promised and measured. */
import { ExitError } from '@lab/process';
import { tableText } from '@lab/process/terminal';
import type { DemoPage } from '@lab/watch/demo';
import { ensureEngine } from '../../../docker/engine.ts';
import { faults, type Drill, type Result } from '../deploy/drill/faults.ts';
import { Traffic } from '../deploy/drill/load.ts';
import { sameRows } from '../deploy/drill/orders.ts';
import { System } from '../deploy/drill/system.ts';
import type { DemoConfig } from './config.ts';

const people = 4;

/** Its own machines, beside those that `npx nx up` may have started. */
const place = { name: 'demo', externalPrefix: '10.87.0', internalPrefix: '10.87.1' };

export async function demo({ watch }: DemoConfig): Promise<void> {
  await ensureEngine();
  const system = await System.of(place);
  await system.down('--volumes');
  let page: Pick<DemoPage, 'keep'> | undefined;
  const begin = async (): Promise<void> => {
    console.log('starting two balancers, two web servers, three ZooKeeper servers and two databases');
    await system.up();
    if (watch) page = await (await import('@lab/watch/demo')).openContainersPage(system.directory, system.project);
    await play(system);
  };
  try {
    await Promise.race([begin(), interrupted()]);
  } finally {
    console.log('removing the machines');
    await system[Symbol.asyncDispose]();
  }
  await page?.keep();
}

/** Rejects at Ctrl-C. */
const interrupted = (): Promise<never> =>
  new Promise((_, reject) => {
    const stop = (): void => reject(new ExitError('stopped before its end', 130));
    process.once('SIGINT', stop).once('SIGTERM', stop);
  });

async function play(system: System): Promise<void> {
  const load = await Traffic.start(system, people);
  console.log(`everything works; ${people} people look at products and place orders at ${system.url}`);
  const results = await drillAll({ system, load });
  await load.stop();
  await load.orders.check();
  const verdicts = load.orders.promises.map((promised) => promised.verdict(true));
  const broken = [...verdicts.flatMap(({ kept, detail }) => (kept === true ? [] : [detail])), ...load.givenUp];
  await sameRows(system);
  print(results);
  if (broken.length > 0) throw new ExitError(`orders:\n${broken.join('\n')}`);
  console.log(
    `Checked: each of the ${load.orders.acknowledgedCount} orders that were acknowledged is there, once; both databases have the same rows.`,
  );
  const missed = results.filter(({ holds }) => !holds).map(({ fault }) => fault);
  if (missed.length > 0) throw new ExitError(`not within the promise: ${missed.join(', ')}`);
}

async function drillAll(drill: Drill): Promise<Result[]> {
  const results: Result[] = [];
  for (const fault of faults) {
    console.log(`… ${fault.name}`);
    results.push(...(await fault.run(drill)));
  }
  return results;
}

function print(results: readonly Result[]): void {
  const rows = results.map(({ fault, promise, measured, holds }) => [fault, promise, measured, holds ? 'yes' : 'NO']);
  console.log(tableText(['fault', 'promise', 'measured', 'holds'], rows));
}
