import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { noProgramFails, promisesOf, type SimulatedSystem } from '@lab/simulation';
import { describe, expect, it } from 'vitest';
import { judged, main, scored, table, type Grade } from './grade.ts';
import { checkRunner, formats } from './grade-formats.ts';
import type { SeedJudged } from './grade-worker.ts';
import { appsOf } from './new.ts';

const root = join(import.meta.dirname, '..');
const promises = ['One decides as long as it lives', 'One decides', noProgramFails];
const replay = (seed: number): string => `again ${seed}`;
const kept = (seed: number): SeedJudged => ({ seed, kinds: ['late', 'dies before', 'all machines off'] });
const broken = (seed: number, promise: string): SeedJudged => ({ ...kept(seed), broken: { promise, detail: 'so' } });
const commit = '0123456789abcdef';

describe('what became of the promises in all seeds', () => {
  it('is all kept where no seed breaks one', () => {
    const evidence = '2 seeds, 6 faults, 4 kills';
    expect(judged(promises, [kept(2), kept(1)], replay)).toEqual(promises.map((promise) => ({ promise, kept: true, evidence })));
  });

  it('loses the one that is broken, and is shown by its first seed', () => {
    const [first, second] = judged(promises, [kept(1), broken(4, 'One decides'), broken(3, 'One decides'), kept(2)], replay);
    expect(first).toMatchObject({ kept: true, evidence: expect.stringContaining('2 of 4 seeds') as string });
    expect(second).toMatchObject({ kept: false, replay: 'again 3', detail: 'broken in 2 of 4 seeds: One decides\nso' });
    const fails = judged(promises, [kept(1), broken(2, `${noProgramFails} (TypeError: a)`)], replay)[2];
    expect(fails).toMatchObject({ kept: false, replay: 'again 2' });
  });

  it('is not known of the others where most runs end with a broken one, nor of all where a run cannot be judged', () => {
    const seeds = [kept(1), broken(2, 'One decides'), broken(3, 'One decides')];
    expect(judged(promises, seeds, replay).map((each) => [each.kept, each.detail?.slice(0, 10)])).toEqual([
      [false, 'not judged'],
      [false, 'broken in '],
      [false, 'not judged'],
    ]);
    const failed = judged(promises, [kept(1), { seed: 2, kinds: [], error: 'seed 2 is not deterministic' }], replay);
    expect(failed.map((each) => each.detail)).toEqual(promises.map(() => 'not judged: seed 2 is not deterministic'));
  });
});

it('points are whole, and are a hundred together', () => {
  const verdicts = promises.map((promise, index) => ({ promise, kept: index > 0, evidence: '' }));
  const { lines, score, max } = scored(verdicts);
  expect([lines.map((line) => [line.points, line.max]), score, max]).toEqual([
    [
      [0, 34],
      [33, 33],
      [33, 33],
    ],
    66,
    100,
  ]);
});

it('the table has a line for each promise, what broke, and what was left out', () => {
  const verdicts = [
    { promise: 'One decides', kept: false, evidence: '2 seeds', detail: 'so\nand so', replay: 'again 3' },
    { promise: 'It ends', kept: true, evidence: '12 seeds' },
  ];
  const own = [{ promise: 'Mine', kept: false, evidence: '3 seeds', detail: 'not so', replay: 'again 5' }];
  const differs = Array.from({ length: 12 }, (_, index) => `new: file ${index}`);
  expect(table({ app: 'lab', from: 'word-count', commit, ...scored(verdicts), own, differs })).toBe(
    [
      '✗ One decides  2 seeds   0 of 50',
      '✓ It ends      12 seeds  50 of 50',
      "lab: 50 of 100 points, by word-count's tests of commit 0123456789ab",
      'By your own simulation:',
      '✗ Mine         3 seeds   no points',
      '',
      '✗ One decides',
      '    so',
      '    and so',
      '    again: again 3',
      '',
      '✗ Mine',
      '    not so',
      '    again: again 5',
      '',
      "Not the teacher's, and without a part in the points:",
      ...differs.slice(0, 10).map((each) => `    ${each}`),
      '    and 2 more\n',
    ].join('\n'),
  );
});

describe('as others read it', () => {
  const verdicts = [
    { promise: 'One decides', kept: false, evidence: '2 seeds', detail: 'so <&"\u0001', replay: 'again 3' },
    { promise: 'Hidden: more', kept: false, evidence: '0 tests passed', detail: 'secret', hidden: true as const },
    { promise: 'It ends', kept: true, evidence: '12 seeds' },
  ];
  const grade: Grade = { app: 'lab', from: 'lab', commit, ...scored(verdicts), own: [], differs: ['new: a'] };

  it('is the grade itself', () => {
    expect(JSON.parse(formats.json(grade))).toEqual(grade);
  });

  it("is JUnit's report, with nothing that XML refuses", () => {
    expect(formats.junit(grade)).toContain(
      '<testsuite name="lab" tests="3" failures="2">\n    <testcase classname="lab" name="One decides">\n' +
        '      <failure message="2 seeds">so &lt;&amp;&quot;?\nagain: again 3</failure>\n',
    );
  });

  it("is Gradescope's, where learners read it", () => {
    expect(JSON.parse(formats.gradescope(grade))).toEqual({
      score: 33,
      output: 'Without a part in this:\nnew: a',
      tests: [
        { name: 'One decides', score: 0, max_score: 34, status: 'failed', output: '2 seeds\nso <&"\u0001\nagain: again 3' },
        { name: 'Hidden: more', score: 0, max_score: 33, status: 'failed', output: '0 tests passed' },
        { name: 'It ends', score: 33, max_score: 33, status: 'passed', output: '12 seeds' },
      ],
    });
  });

  it("is Classroom 50's, whose runner says whose it is", () => {
    const runner = { CLASSROOM: 'c', ASSIGNMENT: 'a', SUBMISSION_TAG: 'submit/1', RELEASE_URL: 'r' };
    expect(() => checkRunner(runner)).toThrow('its runner sets COMMIT_URL, and nobody has');
    const result = JSON.parse(formats.classroom50(grade, { ...runner, COMMIT_URL: 'u' })) as object;
    expect(result).toMatchObject({ schema: 'classroom50/result/v1', review: 'u', score: 33, 'max-score': 100 });
    expect(result).toMatchObject({ datetime: expect.stringMatching(/^[\d-]{10}T[\d:]{8}Z$/) as string });
    expect(result).toMatchObject({ tests: [{ 'test-name': 'One decides', passed: false, score: 0, 'max-score': 34 }, {}, {}] });
  });
});

describe.each(appsOf(root))('the simulation of %s', (app) => {
  it('lists the promises that it checks', async () => {
    const folder = join(root, 'apps', app, 'test');
    const program = pathToFileURL(join(folder, 'simulate.ts')).href;
    const { system } = (await import(program)) as { system: SimulatedSystem };
    const texts = readdirSync(folder).map((file) => (file.endsWith('.ts') ? readFileSync(join(folder, file), 'utf8') : ''));
    const checked = texts.join('\n').matchAll(/(?:PromiseBroken\(|\.fail\(|\.within\(\w+,)\s*'([^']+)'/g);
    const listed = promisesOf(system);
    for (const [, promise = ''] of checked)
      expect(
        listed.find((each) => promise.startsWith(each)),
        promise,
      ).toBeDefined();
  });
});

describe('the command', () => {
  const run = async (...args: string[]): Promise<[number, string]> => {
    const printed: string[] = [];
    const code = await main(
      root,
      args,
      {},
      (text) => printed.push(text),
      () => undefined,
    );
    return [code, printed.join('')];
  };

  it('shows its help', async () => {
    expect(await run('word-count', 'help')).toEqual([0, expect.stringMatching(/^Usage: npx nx grade APP/)]);
  });

  it('says what is wrong where it is called otherwise', async () => {
    await expect(run('none')).rejects.toThrow('there is no app "none"; there are ');
    await expect(run('word-count', 'ha-web')).rejects.toThrow('it takes one app; there is "ha-web", too');
    await expect(run('word-count', '--seeds', '0')).rejects.toThrow('--seeds 0: it is a number from 1 on');
    await expect(run('word-count', '--hidden', '/none')).rejects.toThrow('there is no folder');
    await expect(run('word-count', '--json', '/none/grade.json')).rejects.toThrow('--json: there is no folder /none');
    await expect(run('word-count', '--gradescope', 'a', '--engine')).rejects.toThrow('leave out --engine');
    await expect(run('word-count', '--of', join(root, 'tools'))).rejects.toThrow('is no repository');
  });
});
