import { PromiseBroken } from '@lab/simulation';
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
 * No command is applied twice, none that was fenced at all, those of one sender (`<token>:<number>`) in their order, and those that end with `in <epoch>`, said as leader, come from one member for each epoch, in the order of epochs. Throws where it is not so.
 */
export function checkCommands(lines: readonly string[], fenced: readonly string[]): void {
  const commands = lines.filter((line) => !line.startsWith('members '));
  const twice = commands.filter((line, at) => commands.indexOf(line) < at);
  if (twice.length > 0) throw new PromiseBroken('No command is applied twice', twice.join('\n'));
  const texts = new Set(commands.map((line) => line.slice(line.indexOf(' ') + 1)));
  const done = fenced.filter((text) => texts.has(text));
  if (done.length > 0) throw new PromiseBroken('What was fenced happened nowhere', done.join('\n'));
  const numbers = new Map<string, number>();
  for (const text of texts) {
    const [token = '', number] = text.split(/[: ]/);
    if (Number(number) < (numbers.get(token) ?? 0)) throw new PromiseBroken('Messages of one member keep their order', text);
    numbers.set(token, Number(number));
  }
  const leaders = new Map<string, string>();
  let newest = 0;
  for (const line of commands.filter((each) => each.includes(' in '))) {
    const [sender = '', , , epoch = ''] = line.split(' ');
    if ((leaders.get(epoch) ?? sender) !== sender || Number(epoch) < newest)
      throw new PromiseBroken(
        'One leads in an epoch, and epochs grow',
        `${line}: after epoch ${newest} of ${leaders.get(epoch)}`,
      );
    leaders.set(epoch, sender);
    newest = Number(epoch);
  }
}
