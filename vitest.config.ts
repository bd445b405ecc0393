import { defineConfig } from 'vitest/config';

/**
 * Kinds of suites, by the end of a file's name. What needs nothing but the checkout:
 * - `*.test.ts` (unit): pure code, ports on their fakes, simulations. Answers within seconds, so `npm test` runs it all.
 * - `*.embedded.test.ts`: takes tens of seconds with real processes: an embedded database, an app's own commands. `npm run test:all`
 *   runs it; the same promise has a quick test in unit.
 * - `*.copy.test.ts`: a copy of each app under another name.
 *
 * What needs a Docker engine, one file after another, for two suites at once would measure each other: `*.integration.test.ts` and
 * `*.chaos.test.ts`.
 */
const engineSuite = { fileParallelism: false, testTimeout: 120_000, hookTimeout: 300_000 };
const ignored = ['**/node_modules/**', '**/.nx/**', 'tmp/**'];
/** Of all cores, which is one more than Vitest would take: of two, that is twice as fast. */
const maxWorkers = '100%';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...ignored, '**/*.{embedded,integration,chaos,copy}.test.ts'],
          testTimeout: 20_000,
          maxWorkers,
        },
      },
      {
        test: {
          name: 'embedded',
          include: ['**/*.embedded.test.ts'],
          exclude: ignored,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers,
        },
      },
      { test: { name: 'copy', include: ['**/*.copy.test.ts'], exclude: ignored, ...engineSuite } },
      { test: { name: 'integration', include: ['**/*.integration.test.ts'], exclude: ignored, ...engineSuite } },
      { test: { name: 'chaos', include: ['**/*.chaos.test.ts'], exclude: ignored, ...engineSuite } },
    ],
  },
});
