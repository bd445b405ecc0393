/** `npx nx load ha-web`: people who place orders on the machines that `npx nx up ha-web` has started. */
import { join } from 'node:path';
import { eventually } from '@lab/testing';
import { loadProgram } from '@lab/testing/load-program';
import { Requests } from '../deploy/drill/load.ts';
import { Orders } from '../deploy/drill/orders.ts';
import { System } from '../deploy/drill/system.ts';

const directory = join(import.meta.dirname, '..');
const EXTERNAL_PREFIX = process.env['EXTERNAL_PREFIX'] ?? '10.89.0';
/** Longer than a fault of `npx nx break` lasts by default. */
const openMs = 90_000;
const program = {
  directory,
  operation: 'places an order',
  ...{ rate: 10, clients: 4 },
  open: ({ project }: { project: string }) => {
    const system = new System(directory, { COMPOSE_PROJECT_NAME: project, EXTERNAL_PREFIX });
    process.stderr.write('filling the stores\n');
    // The primary may just be another one.
    return eventually(() => Orders.open(system, new Requests(system.url)), { timeoutMs: openMs, intervalMs: 1_000 });
  },
};
process.exit(await loadProgram(program, process));
