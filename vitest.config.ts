import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { defineConfig, type ViteUserConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { consoleCommands } from './tools/console-blocks.ts';
import { inTurn } from './tools/in-turn.ts';
import { repositoryFiles } from './tools/repository-files.ts';

const root = import.meta.dirname;

/** What takes minutes would run alone at the end, if it were not the first. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLongest = ({ moduleId }: TestSpecification): boolean => longest.test(moduleId);
    return (await super.sort(files)).sort((a, b) => Number(isLongest(b)) - Number(isLongest(a)));
  }
}
const longest = /readme\.integration|compose\.chaos|faults\.chaos/;

/**
 * Kinds of suites, by the end of a file's name. What needs nothing but the checkout:
 * - `*.test.ts` (unit): pure code, ports on their fakes, simulations. Answers within seconds, so `npm test` runs it all.
 * - `*.embedded.test.ts`: takes tens of seconds: an embedded database, an app's own commands, the search for a mistake. `npm run test:all`
 *   runs it; the same promise has a quick test in unit.
 * - `readme:<folder>`: the commands in the folder's documents. One project for each folder, so that they run side by side.
 * - `*.copy.test.ts`: a copy of each app under another name.
 * - `*.hostile.test.ts`: demos, a bench and tests on a host where everything is unusual that may be.
 *
 * What needs a Docker engine: `*.integration.test.ts` and `*.chaos.test.ts`, two files at a time, for mostly they wait for containers; those that
 * measure how long a service is away run after them, one at a time (`integration:alone`, `chaos:alone`): two would measure each other.
 */
/** In which a hang is noticed; what takes long on a busy machine is no hang. */
const patience = { testTimeout: 120_000, hookTimeout: 120_000 };
const engineSuite = { testTimeout: 300_000, hookTimeout: 300_000 };
const apps = readdirSync(join(root, 'apps'));
/** `"lab": { "tests": "alone" }` in a package.json: they measure for how long a service is away, or stop and start an engine's networks. */
const alone = apps.flatMap((app) => {
  const { lab } = JSON.parse(readFileSync(join(root, 'apps', app, 'package.json'), 'utf8')) as { lab?: { tests?: 'alone' } };
  return lab?.tests === 'alone' ? [`apps/${app}/test`] : [];
});
const ignored = ['**/node_modules/**', '**/.nx/**', 'tmp/**'];
/** Take minutes, and a machine of one's own; `nx chaos`, which sets CHAOS=all, and CI at night run them. */
const large = process.env['CHAOS'] === 'all' ? [] : ['**/{swarm,systems}.chaos.test.ts'];
/** With CHAOS=in-turn, which test:all sets, plugs are pulled in the containers of those apps alone whose turn it is. */
const chosen = process.env['CHAOS'] === 'in-turn' ? inTurn(apps) : apps;
const resting = apps.filter((app) => !chosen.includes(app)).map((app) => `apps/${app}/test/*.chaos.test.ts`);
/** More than there are cores: some tests wait for processes that they have started. */
const maxWorkers = '150%';

/** The documents that have commands, by their folders. */
const documents = Map.groupBy(
  repositoryFiles(root).filter(
    (file) => file.endsWith('.md') && consoleCommands(file, readFileSync(join(root, file), 'utf8'), '').length > 0,
  ),
  dirname,
);

// Tests compare what programs print. Either would colour it, and with both Node adds a warning.
delete process.env['NO_COLOR'];
delete process.env['FORCE_COLOR'];

/** For a server that shows results; each run has a file of its own. */
const junitFolder = process.env['JUNIT_FOLDER'];
const reporters: NonNullable<ViteUserConfig['test']>['reporters'] & unknown[] = ['default'];
if (junitFolder !== undefined) reporters.push(['junit', { outputFile: join(junitFolder, `${process.pid}.xml`) }]);

export default defineConfig({
  test: {
    reporters,
    sequence: { sequencer: LongestFirst },
    // Vite takes these characters of a path for its own; where the checkout has them, Node loads the tests itself.
    ...(/[#%?]/.test(root) && { experimental: { viteModuleRunner: false } }),
    projects: [
      {
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...ignored, 'readme.test.ts', '**/*.{embedded,integration,chaos,copy,hostile}.test.ts'],
          ...patience,
          maxWorkers,
          // One process for many files: a new one for each took as long as the tests. A test undoes what it does to its process.
          isolate: false,
        },
      },
      {
        test: {
          name: 'embedded',
          include: ['**/*.embedded.test.ts'],
          exclude: ignored,
          ...patience,
          maxWorkers,
        },
      },
      ...[...documents].map(([folder, documents]) => ({
        test: { name: `readme:${folder}`, include: ['readme.test.ts'], provide: { documents }, ...patience, maxWorkers },
      })),
      { test: { name: 'hostile', include: ['**/*.hostile.test.ts'], exclude: ignored, ...patience, maxWorkers } },
      { test: { name: 'copy', include: ['**/*.copy.test.ts'], exclude: ignored, ...patience, maxWorkers } },
      ...['integration', 'chaos'].flatMap((kind) => {
        const files = `*.${kind}.test.ts`;
        const together = {
          name: kind,
          include: [`**/${files}`],
          exclude: [...ignored, ...large, ...resting, ...alone],
          maxWorkers: 2,
        };
        const after = {
          name: `${kind}:alone`,
          include: alone.map((folder) => `${folder}/${files}`),
          exclude: [...ignored, ...resting],
          maxWorkers: 1,
        };
        return [{ test: { ...together, ...engineSuite } }, { test: { ...after, ...engineSuite, sequence: { groupOrder: 1 } } }];
      }),
    ],
  },
});
