/** What takes minutes for each app is done for one app a day, in turn. */
const dayMs = 86_400_000;

/** The app, of all, whose turn it is today. */
export const ofToday = (apps: readonly string[]): string => apps[Math.floor(Date.now() / dayMs) % apps.length]!;

/** The smallest app and the one of today; with CHAOS=all, as at night, all of them. */
export function inTurn(apps: readonly string[]): readonly string[] {
  const smallest = 'word-count';
  return process.env['CHAOS'] === 'all' ? apps : [smallest, ofToday(apps.filter((app) => app !== smallest))];
}
