/** Mistakes against the rules of DESIGN.md: the simulation must see each of them. */
const mistake = (
  rule: string,
  file: string,
  right: string,
  wrong: string,
): Record<'rule' | 'file' | 'right' | 'wrong', string> => ({
  ...{ rule, file: `src/${file}.ts`, right, wrong },
});

export const mistakes: readonly { rule: string; file: string; right: string; wrong: string }[] = [
  mistake(
    'A view or close counts with a higher epoch, or the next number of the same',
    'ledger',
    'epoch > this.#stamp.epoch || (epoch === this.#stamp.epoch && number === this.#stamp.number + 1);',
    'epoch >= this.#stamp.epoch && number > 0;',
  ),
  mistake(
    "A message counts with the number after its sender's last: not with any",
    'ledger',
    ' || entry.number !== this.lastOf(entry.sender) + 1',
    '',
  ),
  mistake(
    "A message counts with the number after its sender's last: not with a higher one",
    'ledger',
    'entry.number !== this.lastOf(entry.sender) + 1',
    'entry.number <= this.lastOf(entry.sender)',
  ),
  mistake('A message counts only while its sender is in the view', 'ledger', '!this.#members.includes(entry.sender) || ', ''),
  mistake(
    'Who is out stays out: new members have a greater sequence than all before',
    'ledger',
    'members.filter((id) => previous.includes(id) || sequenceOf(id) > this.#sequenceMax)',
    'members',
  ),
  mistake('Nothing counts behind a close', 'ledger', '    if (this.#closed) return undefined;\n', ''),
  mistake("The head carries each member's last number", 'ledger', 'new Map(Object.entries(head.accepted))', 'new Map()'),
  mistake('Resolve on reading what counts', 'member', 'if (accepted) {', "if (accepted || entry.kind === 'message') {"),
  mistake('None is sent again while one ahead may still come', 'member', 'if (item.again === true && awaited) return;', ''),
  mistake(
    'What a former self sent and was not read before its removal goes again',
    'member',
    'if (item.sent !== undefined && !members.includes(item.sent.id)) delete item.sent;',
    'delete item.again;',
  ),
  mistake(
    'The record moves by compare-and-set',
    'log-group',
    'await record.write(text, before?.version)',
    'await record.write(text, (await record.read())?.version)',
  ),
  mistake(
    'A switch is finished by any later writer',
    'member',
    'if (ledger.closed) return this.#checkpoint(ledger.log);',
    'if (ledger.closed) return this.#written?.epoch === epoch ? this.#checkpoint(ledger.log) : undefined;',
  ),
  mistake(
    "Who reads on from a close ignores the next head's state, nobody else",
    'member',
    'head.previous !== undefined && head.previous === this.#finished',
    'head.previous !== undefined',
  ),
  mistake("A log's name is never used again", 'log-group', '${this.#scope}.${this.#token}-${++', '${this.#scope}.${++'),
  mistake(
    'A command with an epoch counts if its sender leads in that epoch',
    'replication',
    "if (kind === 'leader' && (epoch",
    "if (kind === 'follower' && (epoch",
  ),
  mistake('Epochs grow with each change of the leader', 'replication', '&& !goesOn) this.#epoch++', '&& goesOn) this.#epoch++'),
  mistake('The oldest candidate leads', 'replication', '[...stay, ...come]', '[...come, ...stay]'),
];
