import { expect } from 'vitest';
import type { Machine } from '../src/replication.ts';
import type { Member } from '../src/port.ts';

/** A state that forgets nothing: whoever has the same lines was told the same things in the same order. */
export class Scroll implements Machine {
  lines: string[] = [];
  #members = '';

  /** The lines that are not about members. */
  get commands(): string[] {
    return this.lines.filter((line) => !line.startsWith('members '));
  }

  /** Its place among the commands, from 1: as a counter would answer. */
  apply(command: Buffer, sender: Member): number {
    this.lines.push(`${sender.id} ${command.toString()}`);
    return this.commands.length;
  }

  viewChanged(members: readonly Member[]): void {
    const line = `members ${members.map(({ id }) => id).join()}`;
    if (line !== this.#members) this.lines.push(line);
    this.#members = line;
  }

  snapshot(): Buffer {
    return Buffer.from(JSON.stringify([this.lines, this.#members]));
  }

  restore(snapshot: Buffer): void {
    const state = snapshot.length === 0 ? [[], ''] : (JSON.parse(snapshot.toString()) as unknown);
    [this.lines, this.#members] = state as [string[], string];
  }
}

/**
 * No command is applied twice, none that was fenced at all, and those that end with `in <epoch>`, said as leader, come from one member for each epoch, in the order of epochs.
 */
export function checkCommands(lines: readonly string[], fenced: readonly string[]): void {
  const commands = lines.filter((line) => !line.startsWith('members '));
  expect(new Set(commands).size, 'nothing is applied twice').toBe(commands.length);
  const texts = new Set(commands.map((line) => line.slice(line.indexOf(' ') + 1)));
  expect(
    fenced.filter((text) => texts.has(text)),
    'what was fenced did nothing',
  ).toEqual([]);
  const leaders = new Map<string, string>();
  let newest = 0;
  for (const line of commands.filter((each) => each.includes(' in '))) {
    const [sender = '', , , epoch = ''] = line.split(' ');
    expect(leaders.get(epoch) ?? sender, `one leader in the epoch ${epoch}`).toBe(sender);
    expect(Number(epoch), 'epochs grow').toBeGreaterThanOrEqual(newest);
    leaders.set(epoch, sender);
    newest = Number(epoch);
  }
}
