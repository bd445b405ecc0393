import { describe, expect, it } from 'vitest';
import { heldText, itemText, statusText, timeText } from './texts.ts';

const postedAt = new Date(2026, 10, 1, 8, 5).toISOString();
const here = timeText(postedAt);

describe('an item', () => {
  it('is one line, in the time of the place where it is read', () => {
    const text = itemText('sports', { number: 42, author: 'ana', text: 'It rains', postedAt });
    expect(text).toBe(`sports/42  ana  ${here}  It rains\n`);
  });

  it('says that it was edited', () => {
    const edited = { number: 42, author: 'ana', text: 'It snows', postedAt, editedAt: postedAt };
    expect(itemText('sports', edited)).toBe(`sports/42  ana  ${here} (edited)  It snows\n`);
  });

  it('has its further lines indented, so that none looks like another item', () => {
    const text = itemText('sports', { number: 1, author: 'eve', text: 'a\nsports/2  ana  2026-11-01 08:05  b', postedAt });
    expect(text.split('\n').slice(1)).toEqual(['    sports/2  ana  2026-11-01 08:05  b', '']);
  });

  it('does not act on the terminal of who reads it', () => {
    const text = itemText('sports', { number: 1, author: 'e\u001bve', text: '\u001b[2Ja\u009b1mb\rc\td\u0007', postedAt });
    expect(text).toBe(`sports/1  eve  ${here}  [2Ja1mbc\td\n`);
  });

  it('has the time of the place where it is read, and says how far that is from UTC', () => {
    expect(here).toMatch(/^2026-11-01 08:05 [+-]\d\d:\d\d$/);
    for (const iso of [postedAt, '2026-07-01T12:00:00.000Z'])
      expect(Date.parse(timeText(iso).replace(' ', 'T').replace(' ', ''))).toBe(Date.parse(iso));
  });

  it('is shown where its time is none', () => {
    expect(timeText('soon')).toBe('at no known time');
  });
});

describe('what others hold', () => {
  it('is said with the time at which it may be free', () => {
    expect(heldText({ held: 0, heldMs: 0 })).toBeUndefined();
    expect(heldText({ held: 1, heldMs: 10 })).toMatch(/^1 more item held .*; free in 1 s/);
    expect(heldText({ held: 3, heldMs: 8_100 })).toMatch(/^3 more items held .*; free in 9 s/);
  });
});

describe('status', () => {
  it('shows an area with fewer nodes than it wants, and a node that leaves', () => {
    const text = statusText({
      decides: 'agent-2',
      nodes: [{ name: 'node-1', address: '10.0.0.1:9000', areas: 1, leaving: true }],
      areas: [{ area: 'sports', wanted: 3, nodes: ['10.0.0.1:9000'] }],
    });
    expect(text).toMatch(/^agent-2 decides\n/);
    expect(text).toMatch(/node-1 +│ 10\.0\.0\.1:9000 +│ +1 │ leaving/);
    expect(text).toMatch(/sports +│ +3 │ 10\.0\.0\.1:9000 +│ 2 missing/);
  });

  it('says so where there is nothing yet', () => {
    expect(statusText({ decides: undefined, nodes: [], areas: [] })).toBe('no agent decides yet\nno nodes\nno areas\n');
  });
});
