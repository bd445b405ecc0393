/** Answers as people read them. Whatever others wrote in them is stripped of what would act on a terminal. */
import { tableText } from '@lab/process/terminal';
import { itemName } from '../domain/names.ts';
import { removedCountMax, unreadCountMax, type Change, type Item, type Replies } from '../messages.ts';
import type { WholeStatus } from './lists.ts';
import { withoutControls } from './terminal.ts';

const two = (number: number): string => String(number).padStart(2, '0');

/** `2026-11-21 18:38 +01:00`, where the reader is. */
export function timeText(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return 'at no known time';
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const east = -time.getTimezoneOffset();
  const offset = `${east < 0 ? '-' : '+'}${two(Math.floor(Math.abs(east) / 60))}:${two(Math.abs(east) % 60)}`;
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())} ${offset}`;
}

/** An item in a line; further lines of its text are indented, so that none of them looks like another item. */
export function itemText(area: string, { number, author, text, postedAt, editedAt }: Item): string {
  const time = `${timeText(postedAt)}${editedAt === undefined ? '' : ' (edited)'}`;
  const line = [itemName({ area, number }), author, time, text.replaceAll('\n', '\n    ')].join('  ');
  return `${withoutControls(line)}\n`;
}

/** What a watch shows of a change: the item as it is now, or that it is no more. */
export const changeText = (area: string, change: Change): string =>
  'deleted' in change ? withoutControls(`${itemName({ area, number: change.number })}  deleted`) + '\n' : itemText(area, change);

export const itemsText = (area: string, items: readonly Item[]): string => items.map((item) => itemText(area, item)).join('');

/** `1 item`, `2 items`. */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

export function areasText({ areas }: Pick<Replies['areas'], 'areas'>): string {
  if (areas.length === 0) return 'no areas\n';
  return tableText(
    ['area', 'subscribed'],
    areas.map(({ area, subscribed }) => [area, subscribed ? 'yes' : '']),
  );
}

/** Of what is counted up to a maximum. */
const upTo = (count: number, max: number): string => (count < max ? String(count) : `${max} or more`);
export const unreadText = (unread: number): string => upTo(unread, unreadCountMax);

/** `1 item and 2 subscriptions`. */
export function removedText({ news, subscriptions }: Pick<Replies['removeArea'], 'news' | 'subscriptions'>): string {
  const [items, ended] = [news, subscriptions].map((count) => upTo(count, removedCountMax));
  return `${items} ${news === 1 ? 'item' : 'items'} and ${ended} ${subscriptions === 1 ? 'subscription' : 'subscriptions'}`;
}

export function myAreasText({ areas }: Pick<Replies['myAreas'], 'areas'>): string {
  if (areas.length === 0) return 'subscribed to no area\n';
  return tableText(
    ['area', 'unread'],
    areas.map(({ area, unread }) => [area, unreadText(unread)]),
  );
}

/** Says what others hold back, or undefined where they hold nothing. */
export function heldText({ held, heldMs }: Pick<Replies['unread'], 'held' | 'heldMs'>): string | undefined {
  if (held === 0) return undefined;
  const seconds = Math.max(1, Math.ceil(heldMs / 1_000));
  return `${counted(held, 'more item')} held for another reader of yours; free in ${seconds} s unless that one marks them`;
}

export function statusText({ decides, nodes, areas }: WholeStatus): string {
  const nodeTable = table(
    ['node', 'address', 'areas', 'state'],
    nodes.map(({ name, address, areas, leaving }) => [name, address, String(areas), leaving ? 'leaving' : '']),
  );
  const areaTable = table(
    ['area', 'nodes', 'served by', 'state'],
    areas.map(({ area, wanted, nodes }) => [
      area,
      String(wanted),
      nodes.join(', '),
      nodes.length < wanted ? `${wanted - nodes.length} missing` : '',
    ]),
  );
  const deciding = decides === undefined ? 'no agent decides yet' : `${withoutControls(decides)} decides`;
  return `${deciding}\n${nodes.length === 0 ? 'no nodes\n' : nodeTable}${areas.length === 0 ? 'no areas\n' : areaTable}`;
}

function table(head: string[], rows: readonly string[][]): string {
  const shown = rows.map((row) => row.map(withoutControls));
  return `${tableText(head, shown)}\n`;
}
