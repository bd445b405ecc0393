/**
 * compose.yaml has a service for each role of the table, and stack.yaml follows from it; `npx vitest run apps/bike-analytics/test/compose.test.ts -u`
 * writes both anew.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { roles } from '../src/wiring.ts';
import { stackOf } from './stack.ts';

const app = join(import.meta.dirname, '..');
const file = join(app, 'compose.yaml');

/** What services of roles with as many replicas have in common; the others run once. */
const anchors: Readonly<Record<string, string>> = { brokers: 'broker', filters: 'filter', tripsSolvers: 'trips-solver' };

const services = [...roles]
  .filter(([name]) => name !== 'entry-point')
  .map(([name, { replicas }]) => `  ${name}: { <<: *${anchors[replicas] ?? 'once'}, command: [${name}] }\n`);
const [, head, end] = /^(.*# One service for each role[^\n]*\n).*?(\nvolumes:.*)$/s.exec(readFileSync(file, 'utf8'))!;
const compose = [head, ...services, end].join('');

it('compose.yaml has one service for each role', async () => {
  await expect(compose).toMatchFileSnapshot(file);
});

it('stack.yaml has the same roles, with the same commands and settings', async () => {
  await expect(stackOf(compose)).toMatchFileSnapshot(join(app, 'deploy/stack.yaml'));
});
