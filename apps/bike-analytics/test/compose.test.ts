/** compose.yaml has a service for each role of the table; `npx vitest run apps/bike-analytics/test/compose.test.ts -u` writes them anew. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { roles } from '../src/wiring.ts';

const file = join(import.meta.dirname, '../compose.yaml');

/** What services of roles with as many replicas have in common; the others run once. */
const anchors: Readonly<Record<string, string>> = { brokers: 'broker', filters: 'filter', tripsSolvers: 'trips-solver' };

it('has one service for each role', async () => {
  const services = [...roles]
    .filter(([name]) => name !== 'entry-point')
    .map(([name, { replicas }]) => `  ${name}: { <<: *${anchors[replicas] ?? 'once'}, command: [${name}] }\n`);
  const [, head, end] = /^(.*# One service for each role[^\n]*\n).*?(\nvolumes:.*)$/s.exec(readFileSync(file, 'utf8'))!;
  await expect([head, ...services, end].join('')).toMatchFileSnapshot(file);
});
