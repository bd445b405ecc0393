import { defineConfig } from 'vitest/config';

/**
 * Three kinds of suites, by file name. `unit` needs nothing but the checkout; `integration` and `chaos` need a Docker engine and run
 * one file after another, for two suites at once would measure each other.
 */
const engineSuite = { fileParallelism: false, testTimeout: 120_000, hookTimeout: 300_000 };
const ignored = ['**/node_modules/**', '**/.nx/**', 'tmp/**'];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...ignored, '**/*.{integration,chaos,copy}.test.ts'],
          testTimeout: 20_000,
          // Of all cores, which is one more than Vitest would take: of two, that is twice as fast.
          maxWorkers: '100%',
        },
      },
      { test: { name: 'copy', include: ['**/*.copy.test.ts'], exclude: ignored, ...engineSuite } },
      { test: { name: 'integration', include: ['**/*.integration.test.ts'], exclude: ignored, ...engineSuite } },
      { test: { name: 'chaos', include: ['**/*.chaos.test.ts'], exclude: ignored, ...engineSuite } },
    ],
  },
});
