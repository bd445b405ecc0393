/** A grade as others read it. Learners see what a classroom's pages show: there a hidden test tells nothing but whether it passed. */
import { GradeError } from './submission.ts';
import type { Grade, Line } from './grade.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** What each option of the command writes. */
export const formats = {
  json: (grade: Grade) => lines(grade),
  junit,
  gradescope,
  classroom50,
} satisfies Record<string, (grade: Grade, env: Env) => string>;

const lines = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

/** What is said of a line below it. */
export const explained = ({ detail = '', replay }: Pick<Line, 'detail' | 'replay'>): string =>
  [detail.trim(), ...(replay === undefined ? [] : [`again: ${replay}`])].join('\n');
const shown = (line: Line): string => (line.hidden ? '' : explained(line));

function junit({ app, lines }: Grade): string {
  const cases = lines.map((line) => {
    const name = `classname="${xml(app)}" name="${xml(line.promise)}"`;
    return line.kept
      ? `    <testcase ${name}/>`
      : `    <testcase ${name}>\n      <failure message="${xml(line.evidence)}">${xml(explained(line))}</failure>\n    </testcase>`;
  });
  const broken = lines.filter(({ kept }) => !kept).length;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<testsuites>',
    `  <testsuite name="${xml(app)}" tests="${lines.length}" failures="${broken}">`,
    ...cases,
    '  </testsuite>',
    '</testsuites>\n',
  ].join('\n');
}

/** Of control characters XML takes only tab and ends of lines. */
const xml = (text: string): string =>
  text
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');

/** `results.json`. */
function gradescope({ lines: all, score, differs }: Grade): string {
  const tests = all.map((line) => ({
    name: line.promise,
    score: line.points,
    max_score: line.max,
    status: line.kept ? 'passed' : 'failed',
    output: [line.evidence, shown(line)].join('\n').trim(),
  }));
  const others = differs.length === 0 ? '' : `Without a part in this:\n${differs.join('\n')}`;
  return lines({ score, output: others, tests });
}

/** Throws where Classroom 50's runner has not said whose submission it is. */
export function checkRunner(env: Env): void {
  const missing = ['CLASSROOM', 'ASSIGNMENT', 'SUBMISSION_TAG', 'COMMIT_URL', 'RELEASE_URL'].filter((name) => !env[name]);
  if (missing.length > 0) throw new GradeError(`--classroom50: its runner sets ${missing.join(', ')}, and nobody has`);
}

/** `result.json`: its schema is `classroom50/result/v1`. Whose it is, the runner says in the environment. */
function classroom50({ lines: all, score, max }: Grade, env: Env): string {
  const tests = all.map((line) => ({
    'test-name': line.promise,
    passed: line.kept,
    score: line.points,
    'max-score': line.max,
    output: [line.evidence, shown(line)].join('\n').trim(),
  }));
  return lines({
    schema: 'classroom50/result/v1',
    classroom: env['CLASSROOM'],
    assignment: env['ASSIGNMENT'],
    assignment_type: env['ASSIGNMENT_TYPE'],
    owner: env['OWNER'] ?? env['USERNAME'],
    submission: env['SUBMISSION_TAG'],
    commit: env['COMMIT_URL'],
    release: env['RELEASE_URL'],
    review: env['REVIEW_URL'] ?? env['COMMIT_URL'],
    datetime: new Date().toISOString().replace(/\.\d+/, ''),
    score,
    'max-score': max,
    tests,
  });
}
