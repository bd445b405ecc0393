/** The answers as tables, for people. */
import type { Rejection, Rejections } from '@lab/columns';
import { tableText } from '@lab/process/terminal';
import { queries, type Answers } from '../domain/queries.ts';
import type { AnyQuery, Values } from '../domain/query.ts';
import { count } from '../domain/terms.ts';
import { looksLike } from './file-checks.ts';

/** What a run gives: the answers, and what was wrong with the input. */
export interface Results {
  answers: Answers;
  /** Of each file that has some. */
  rejected: Readonly<Record<string, Rejections>>;
}

/** Longer lists are cut; the file has all. */
const rowsShown = 10;

export function reportText({ answers, rejected }: Results, settings: Values): string {
  const rows = Object.values(rejected).reduce((sum, each) => sum + each.count, 0);
  return [
    ...queries.map((query) => answerText(query, answers[query.name as keyof Answers], settings)),
    `Rejected: ${count(rows, 'row')}`,
    ...Object.entries(rejected).flatMap(([file, rejections]) => rejectedOf(file, rejections)),
  ].join('\n');
}

function answerText(query: AnyQuery, answer: unknown, settings: Values): string {
  const { title, columns, rows, leftOut = {}, hints = [] } = query.show(answer, settings);
  const more = rows.length > rowsShown ? [`  ... and ${rows.length - rowsShown} more (--output FILE has them all)`] : [];
  const without = Object.entries(leftOut).map(([why, trips]) => `${count(trips, 'trip')} ${why}`);
  return [
    `${query.number}. ${title}`,
    tableText(
      [...columns],
      rows.slice(0, rowsShown).map((row) => [...row]),
    ),
    ...more,
    ...(without.length === 0 ? [] : [`  left out: ${without.join(', ')}`]),
    ...hints.map((hint) => `  ${hint}`),
  ].join('\n');
}

function rejectedOf(file: string, { count: rows, kinds, first }: Rejections): string[] {
  return [
    `  ${file}: ${count(rows, 'row')}`,
    ...Object.entries(kinds).flatMap(([kind, ofKind]) => kindText(kind, ofKind, first)),
  ];
}

function kindText(kind: string, rows: number, firstOfAll: readonly Rejection[]): string[] {
  const first = firstOfAll.filter((each) => each.kind === kind);
  const hint = looksLike(first[0]?.reason ?? '');
  return [
    `    ${kind}: ${count(rows, 'row')}${hint === undefined ? '' : `; ${hint}`}`,
    ...first.map(({ line, reason }) => `      line ${line}: ${reason}`),
    ...(rows > first.length ? [`      ... and ${rows - first.length} more`] : []),
  ];
}
