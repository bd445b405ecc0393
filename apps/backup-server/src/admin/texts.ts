/** What commands answer, for people. */
import { bytesText, tableText } from '@lab/process/terminal';
import { printable, printableText } from '../domain/file-names.ts';
import type { Entry } from '../domain/manifest.ts';
import type { Task } from '../domain/registry.ts';
import type { Change } from '../domain/selection.ts';
import type { StatusTask } from '../roles/nodes-manager.ts';
import type { StatusResult } from '../roles/server.ts';
import type { ListedVersion, VerifyResult } from '../roles/store-commands.ts';
import { keyOf, type Version } from '../versions.ts';
import type { Unwritten } from './target.ts';

export const named = ({ node, path }: { node: string; path: string }): string => `"${printable(path)}" of node ${node}`;

/** Of the files that are damaged. */
const filesShown = 5;
/** Of what was not written. */
const unwrittenShown = 100;
/** Of what a cell of a table says. */
const cellLength = 80;
/** Of what `verify` finds: one bad pack has thousands of places. */
const findingsShown = 20;

/** `1 file`, `2 files`. */
export const countText = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? '' : 's'}`;
/** So many lines; `--json` has all. */
const firstOf = (lines: readonly string[], most: number): readonly string[] =>
  lines.length <= most ? lines : [...lines.slice(0, most), `  and ${lines.length - most} more, which --json lists`];
const timeText = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').slice(0, 19);

function filesText({ damagedFiles, damaged }: ListedVersion): string {
  const shown = damagedFiles.slice(0, filesShown).map(printable).join(', ');
  return damaged > filesShown && damagedFiles.length > 1 ? `${shown} and ${damaged - filesShown} more` : shown;
}

export function listText(versions: readonly ListedVersion[]): string {
  if (versions.length === 0) return 'no versions';
  const rows = versions.map((version) => {
    const { node, path, state, notes } = version;
    const noted = notes.length === 0 ? 'whole' : `whole, ${countText(notes.length, 'note')}`;
    const said =
      state === 'lost'
        ? ['?', '?', '?', '?']
        : [timeText(version.createdMs), version.files, bytesText(version.bytes), bytesText(version.storedBytes)];
    return [node, printable(path), version.version, ...said, state === 'whole' ? noted : `${state}: ${filesText(version)}`];
  });
  const notes = versions.flatMap((version) =>
    version.notes.map(
      ({ path, note }) =>
        `note on version ${version.version} of ${named(version)}: ${printable(path === '' ? version.path : path)}: ${printableText(note)}`,
    ),
  );
  const head = ['node', 'path', 'version', 'made (UTC)', 'files', 'size', 'stored', 'state'];
  return [tableText(head, rows), ...notes].join('\n');
}

const typeLetters = { file: '-', folder: 'd', link: 'l' } as const;

function modeText(entry: Entry): string {
  const mode = entry.type === 'link' ? 0o777 : entry.mode;
  const bits = [...'rwxrwxrwx'].map((letter, index) => ((mode >> (8 - index)) & 1 ? letter : '-'));
  return `${typeLetters[entry.type]}${bits.join('')}`;
}

/** As `ls -l`, a line each. */
export function filesListText(entries: readonly (Entry & { damaged: boolean })[]): string {
  const sizes = entries.map((entry) => (entry.type === 'file' ? String(entry.size) : ''));
  const width = sizes.reduce((most, size) => Math.max(most, size.length), 0);
  const lines = entries.map((entry, index) => {
    const target = entry.type === 'link' ? ` -> ${printable(entry.target)}` : '';
    const remark = entry.damaged ? '  (damaged)' : '';
    const path = printable(entry.path === '' ? '.' : entry.path);
    return `${modeText(entry)} ${sizes[index]!.padStart(width)} ${timeText(entry.mtimeMs)} ${path}${target}${remark}`;
  });
  return lines.join('\n');
}

const changeLetters = { added: '+', removed: '-', type: 'T', content: 'M', mode: 'U' } as const;

/** The letters are restic's. */
export function changesText(changes: readonly Change[]): string {
  const lines = changes.map(({ path, change }) => `${changeLetters[change]} ${printable(path === '' ? '.' : path)}`);
  const count = (...kinds: readonly Change['change'][]): number => changes.filter(({ change }) => kinds.includes(change)).length;
  const total = `${count('added')} added, ${count('removed')} removed, ${count('type', 'content', 'mode')} changed`;
  return [...lines, total].join('\n');
}

export function unwrittenText(unwritten: readonly Unwritten[]): string {
  const lines = unwritten.map(({ path, reason }) => `  ${printable(path === '' ? '.' : path)}: ${reason}`);
  const count = countText(unwritten.length, 'entry').replace('entrys', 'entries');
  return [`${count} could not be restored:`, ...firstOf(lines, unwrittenShown)].join('\n');
}

export const versionText = (version: Version): string => `version ${version.version} of ${named(version)}`;

export function verifyText({ bytes, findings, damaged }: VerifyResult): string {
  const found = findings.length === 0 ? 'all as it was written' : `${countText(findings.length, 'damaged place')} found`;
  return [
    `${bytesText(bytes)} read, ${found}`,
    ...firstOf(
      findings.map((finding) => `  ${findingText(finding, damaged.length === 0)}`),
      findingsShown,
    ),
    ...damaged.map((version) => `damaged: version ${version.version} of ${named(version)}: ${filesText(version)}`),
  ].join('\n');
}

function findingText({ what, place, repaired, neededBy }: VerifyResult['findings'][number], isAllWhole: boolean): string {
  if (neededBy !== undefined) {
    const { name, version, others } = neededBy;
    const more = others === 0 ? '' : ` and ${countText(others, 'other version')}`;
    return `${what}: ${place}, of version ${version} of ${named(keyOf(name))}${more}`;
  }
  const good = what === 'content' ? ', all of it is sound elsewhere' : ', repaired';
  const bad = what === 'content' && isAllWhole ? ', no version needs it' : '';
  return `${what} at ${place}${repaired ? good : bad}`;
}

/** Why what is stored does not count as sound. */
export function unsoundText({ findings, damaged }: VerifyResult): string | undefined {
  if (damaged.length > 0) {
    const lost = damaged.filter(({ state }) => state === 'lost').length;
    const ways = [
      ...(lost < damaged.length ? ['the next backup brings back what its node still has'] : []),
      ...(lost > 0 ? ['nothing brings back a record that is lost, "forget" removes its version'] : []),
    ];
    return `damaged: ${countText(damaged.length, 'version')}; ${ways.join('; ')}`;
  }
  // Content that is not sound elsewhere is then needed by nothing.
  const left = findings.filter(({ repaired, what }) => !repaired && what !== 'content').length;
  if (left === 0) return undefined;
  return `not repaired: ${countText(left, 'damaged place')}; no version has lost anything by it`;
}

export function statusText({ tasks, nowMs, store, problem }: StatusResult): string {
  const rows = tasks.map((task) => {
    const next = task.current === undefined ? inText(task.dueMs - nowMs) : nowText(task.current);
    const retry = task.failures > 0 ? ` (try ${task.failures + 1})` : '';
    const { node, path, address, every } = task;
    const [last, proven] = [outcomeText(task), provenText(task, nowMs)].map(cut);
    return [node, printable(path), address, every, keepText(task), next + retry, last!, proven!];
  });
  const long = tasks.flatMap((task) =>
    [outcomeText(task), provenText(task, nowMs)].filter((text) => cut(text) !== text).map((text) => `${named(task)}: ${text}`),
  );
  const damaged = store.damaged.map(
    (path) => `damaged: ${countText(path.versions, 'version')} of ${named(path)}; "list" names the files`,
  );
  const stopped = stoppedTexts(store);
  const looking = store.isLooking ? ['damage was found; which versions have it is being looked for'] : [];
  const none = damaged.length + looking.length === 0 ? ', none known to be damaged' : '';
  const head = ['node', 'path', 'address', 'every', 'keep', 'next', 'last', 'last proven restorable'];
  return [
    ...(problem === undefined ? [] : [problem]),
    tasks.length === 0 ? 'nothing is registered' : tableText(head, rows),
    ...long,
    `${bytesText(store.bytes)} in ${countText(store.packs, 'pack')}${none}`,
    ...damaged,
    ...stopped,
    ...looking,
  ].join('\n');
}

/** In a table; all of it stands below. */
const cut = (text: string): string => (text.length > cellLength ? `${text.slice(0, cellLength - 1)}…` : text);

function provenText({ drill, provenMs }: Task, nowMs: number): string {
  if (drill?.problem !== undefined) return `version ${drill.version} is not: ${printableText(drill.problem)}`;
  if (provenMs === undefined) return 'not yet';
  const minutes = Math.round((nowMs - provenMs) / 60_000);
  return minutes < 120 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
}

/** Why the store gets no smaller. */
const stoppedTexts = ({ damaged }: StatusResult['store']): string[] =>
  damaged
    .filter(({ stopSweeps }) => stopSweeps > 0)
    .map((path) => {
      const versions = `${countText(path.stopSweeps, 'version')} of ${named(path)}`;
      return `nothing older is swept: nobody knows what ${versions} may need; a backup may heal it, "forget" removes it`;
    });

/** What `--check` finds wrong, a line each. */
export function troubles({ tasks, store, problem }: StatusResult): string[] {
  const late = ({ last }: StatusTask): string => (last === undefined ? 'has no backup yet' : 'was not backed up');
  return [
    ...(problem === undefined ? [] : [problem]),
    ...tasks.flatMap((task) => [
      ...(task.failures > 0 ? [`${named(task)} ${outcomeText(task)}`] : []),
      ...(task.drill?.problem === undefined
        ? []
        : [`${named(task)}: version ${task.drill.version} cannot be restored: ${printableText(task.drill.problem)}`]),
      ...(task.isLate ? [`${named(task)} is late: for more than two intervals it ${late(task)}`] : []),
    ]),
    ...store.damaged.map((path) => `${named(path)} is damaged: ${countText(path.versions, 'version')} cannot be restored whole`),
    ...stoppedTexts(store),
    ...(store.isLooking ? ['damage was found; which versions have it is being looked for'] : []),
  ];
}

function keepText({ keep, keepHourly, keepDaily, keepWeekly, keepMonthly }: Task): string {
  const counts = { '': keep, ' hourly': keepHourly, ' daily': keepDaily, ' weekly': keepWeekly, ' monthly': keepMonthly };
  const rules = Object.entries(counts).flatMap(([period, count]) => (count === undefined ? [] : [`${count}${period}`]));
  return rules.length === 0 ? 'all' : rules.join(', ');
}

function inText(ms: number): string {
  if (ms <= 0) return 'now';
  return ms < 120_000 ? `in ${Math.ceil(ms / 1000)} s` : `in ${Math.round(ms / 60_000)} min`;
}

function nowText({ progress }: NonNullable<Task['current']>): string {
  if (progress === undefined) return 'queued';
  return progress.files === 0 ? 'under way' : `under way: ${countText(progress.files, 'file')}, ${bytesText(progress.bytes)}`;
}

export function outcomeText({ last }: Task): string {
  if (last === undefined) return 'never yet';
  const { result, version, files, bytes, sentBytes, elapsedMs, reason } = last;
  if (result === 'failed' || result === 'superseded') return `${result}: ${printableText(reason ?? '')}`;
  const what =
    result === 'version'
      ? `version ${version}`
      : result === 'healed'
        ? `version ${version} healed`
        : `unchanged since version ${version}`;
  const notes = reason === undefined ? '' : `; ${printableText(reason)}`;
  return `${what}: ${countText(files, 'file')}, ${bytesText(bytes)}, ${bytesText(sentBytes)} sent, ${(elapsedMs / 1000).toFixed(1)} s${notes}`;
}
