/** Reads what is unread: taken page by page, and marked only AFTER it was shown. What is not marked is offered again. */
import type { Item, Replies } from '../messages.ts';
import type { Member } from './member.ts';

export type UnreadPage = Replies['unread'];
type Reader = Pick<Member, 'unread' | 'mark'>;
/** What other readers of the same user hold. */
export type Held = Pick<UnreadPage, 'held' | 'heldMs'>;

/** Shows all that is unread, each page as it comes. */
export async function showUnread(
  member: Reader,
  area: string,
  show: (items: readonly Item[]) => Promise<void>,
): Promise<Held & { count: number }> {
  for (let count = 0; ;) {
    const { items, held, heldMs } = await member.unread(area);
    if (items.length === 0) return { count, held, heldMs };
    await show(items);
    await member.mark(area, items);
    count += items.length;
  }
}

/** Takes all that is unread, for one answer; whoever has shown it marks it. */
export async function takeUnread(member: Pick<Reader, 'unread'>, area: string): Promise<Held & { items: Item[] }> {
  const first = await member.unread(area);
  const items = [...first.items];
  const seen = new Set(items.map(({ number }) => number));
  for (let page = first; page.items.length > 0;) {
    page = await member.unread(area);
    // Where this takes longer than a lease lasts, the first ones come again.
    const fresh = page.items.filter(({ number }) => !seen.has(number));
    if (fresh.length === 0) break;
    for (const { number } of fresh) seen.add(number);
    items.push(...fresh);
  }
  // From the second page on what is held here would count, too.
  return { items: items.sort((a, b) => a.number - b.number), held: first.held, heldMs: first.heldMs };
}
