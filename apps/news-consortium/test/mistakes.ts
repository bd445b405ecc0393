/** What must not happen, each as a change that a test sees: `npm run mutants -- news-consortium`. */
import type { Mistake } from '@lab/testing';

const [news, areas, deciding] = ['src/store/news.ts', 'src/store/areas.ts', 'src/store/deciding.ts'];
const [lists, once, following] = ['src/store/lists.ts', 'src/store/once.ts', 'src/store/following.ts'];
const [assignment, decider, feeds] = ['src/domain/assignment.ts', 'src/roles/decider.ts', 'src/roles/feeds.ts'];
const [agent, membership, contact] = ['src/roles/agent.ts', 'src/roles/membership.ts', 'src/store/contact.ts'];
const [logins, wiring, serving] = ['src/roles/logins.ts', 'src/wiring.ts', 'src/wire/serving.ts'];
const [names, accounts] = ['src/domain/names.ts', 'src/store/accounts.ts'];
const [watch, consortium, tokens] = ['src/client/watch.ts', 'src/client/consortium.ts', 'src/wire/tokens.ts'];

export const mistakes: readonly Mistake[] = [
  {
    rule: 'takes a number for a post that is sent again',
    file: news,
    right: '\n          AND NOT EXISTS (SELECT FROM news WHERE author_id = g.user_id AND key = $4)\n',
    wrong: '\n',
  },
  {
    rule: 'takes another post with a used key for the first one',
    file: news,
    right: 'if (first.area !== area || first.number === null || !first.same)',
    wrong: 'if (first.number === null)',
  },
  {
    rule: "acknowledges a change of somebody else's item",
    file: news,
    right: 'if (!mine) throw',
    wrong: 'if (false) throw',
  },
  {
    rule: 'acknowledges an edit of what was deleted',
    file: news,
    right: 'if (row.gone) throw new Refusal',
    wrong: 'if (false) throw new Refusal',
  },
  {
    rule: 'goes on trying with who shows another certificate',
    file: consortium,
    right: ' || error instanceof HandshakeError)',
    wrong: ')',
  },
  {
    rule: 'tells a closed session the status',
    file: lists,
    right: 'if (row === undefined) throw sessionOver();\n    return { decides',
    wrong: 'if (row === undefined) return { nodes: [], areas: [], decides: undefined };\n    return { decides',
  },
  {
    rule: 'undoes an edit when the one before it is sent again',
    file: once,
    right: 'if (!user.fresh) {',
    wrong: "if (!user.fresh && kind !== 'edit') {",
  },
  {
    rule: 'does not say that an item was edited',
    file: news,
    right: ', edited_at = clock_timestamp()',
    wrong: '',
  },
  {
    rule: 'does not wait for another reader of the user',
    file: news,
    right: 'AND g.served FOR UPDATE OF f),\n      hand AS',
    wrong: 'AND g.served),\n      hand AS',
  },
  {
    rule: 'takes what another reader was just offered',
    file: news,
    right: ' AND o.leased_until <= now() RETURNING',
    wrong: ' RETURNING',
  },
  {
    rule: 'reads on behind an item that was not marked',
    file: news,
    right: ' AND o.number = ANY ($4::bigint[])',
    wrong: ' AND $4::bigint[] IS NOT NULL',
  },
  {
    rule: 'offers all that there is to who marks nothing',
    file: news,
    right: ', ${offersMax} - (SELECT count(*) FROM hand WHERE there)',
    wrong: '',
  },
  {
    rule: 'ends a list with its first page',
    file: lists,
    right: 'THEN page.last::text END AS next',
    wrong: 'THEN NULL END AS next',
  },
  {
    rule: 'leaves what a removed area had when a piece of it is deleted',
    file: areas,
    right: 'clearing = area.cleared_through + ${clearedNumbers} < area.last_number OR',
    wrong: 'clearing = false AND',
  },
  {
    rule: 'keeps changes of a removed area for ever',
    file: areas,
    right: '\n            OR (SELECT true FROM changes c WHERE c.area_id = area.id LIMIT 1) IS NOT NULL\n',
    wrong: '\n',
  },
  {
    rule: 'keeps other sessions open when a password is changed',
    file: accounts,
    right: 's.user_id = c.id AND s.id <> $4 AND',
    wrong: 'false AND',
  },
  {
    rule: 'counts no wrong passwords of who has a session',
    file: logins,
    right: '      await accounts.fail(login, deadline);\n      throw wrongPassword(user.name);',
    wrong: '      throw wrongPassword(user.name);',
  },
  { rule: 'keeps a session that was closed', file: news, right: 's.id = $1 AND s.closed_at IS NULL', wrong: 's.id = $1' },
  {
    rule: 'lets a node answer for an area that it does not serve',
    file: news,
    right: 'if (!row.served) throw await',
    wrong: 'if (false) throw await',
  },
  {
    rule: 'counts the news of a removal before the last post is in',
    file: areas,
    right: 'SET removed_at = now(), clearing = true WHERE',
    wrong: 'SET clearing = true WHERE',
  },
  {
    rule: 'lets an assignment be made with the lock of another',
    file: deciding,
    right: 'if (rows[0]?.taken !== true) return false;',
    wrong: '',
  },
  {
    rule: 'ends a deciding agent that has gone on',
    file: deciding,
    right: ' AND d.beat = $2',
    wrong: ' AND $2::text IS NOT NULL',
  },
  {
    rule: 'leaves the turn with an agent that hangs',
    file: decider,
    right: 'clock.nowMs() - seen.sinceMs > hangMs && ',
    wrong: 'false && ',
  },
  {
    rule: 'removes a node that answers, at the address of one that is gone',
    file: decider,
    right: 'answer.id !== id',
    wrong: 'false',
  },
  {
    rule: 'leaves areas with a node that is dead',
    file: decider,
    right: '(this.#failures.get(id) ?? 0) >= failuresMax',
    wrong: 'false',
  },
  {
    rule: 'takes all areas from nodes that it alone cannot reach',
    file: decider,
    right: 'failed.length === nodes.length && !this.#hasSteppedAside',
    wrong: 'false',
  },
  {
    rule: 'keeps the lock and lets others look',
    file: decider,
    right: 'await deciding?.close();',
    wrong: '',
  },
  {
    rule: 'counts failed checks that were not in a row',
    file: decider,
    right: 'this.hasAnswers = true;\n        this.#failures.delete(id);',
    wrong: 'this.hasAnswers = true;',
  },
  { rule: 'gives areas to a node that has failed', file: decider, right: '!failed.has(node)', wrong: 'true' },
  { rule: 'keeps a node that wants to leave', file: decider, right: '[...failed, ...leaving]', wrong: '[...failed]' },
  {
    rule: 'stays away when it was forgotten',
    file: membership,
    right: 'else if (this.#listening !== undefined && this.#joining === undefined) void this.#register();',
    wrong: '',
  },
  {
    rule: 'registers a node that has ended',
    file: agent,
    right: 'await checkReachable(id, address, askNode);',
    wrong: '',
  },
  {
    rule: 'takes a slow database for none',
    file: contact,
    right: 'this.#askedMs = Infinity;\n    return answer;',
    wrong: 'this.#askedMs = this.#clock.nowMs();\n    return answer;',
  },
  {
    rule: 'reads a feed from its end instead of what a watcher has had',
    file: feeds,
    right: 'after: after ?? last.after',
    wrong: 'after: last.after',
  },
  {
    rule: 'forgets what happened while it read',
    file: feeds,
    right: 'feed.again = true;\n    if (!feed.reading)',
    wrong: 'feed.again = !feed.reading;\n    if (!feed.reading)',
  },
  {
    rule: 'tells of an edit only when something is posted',
    file: following,
    right: '(last_number + last_change)::float8',
    wrong: 'last_number::float8',
  },
  {
    rule: 'begins with changes anew when a watcher comes back',
    file: feeds,
    right: 'change: change ?? last.change',
    wrong: 'change: last.change',
  },
  {
    rule: 'tells of changes behind all that was posted',
    file: following,
    right: 'ORDER BY behind, change LIMIT $6',
    wrong: 'ORDER BY change, behind LIMIT $6',
  },
  {
    rule: 'counts the changes of an area anew when it comes back',
    file: areas,
    right: 'coalesce(f.last_change, 0)',
    wrong: '0',
  },
  {
    rule: 'tells twice of a change that two nodes send',
    file: watch,
    right: 'if (told.change <= (this.#lastChange ?? 0)) continue;',
    wrong: '',
  },
  {
    rule: 'goes on at another node from now instead of where it was',
    file: watch,
    right: 'after: this.last,',
    wrong: 'after: undefined,',
  },
  {
    rule: 'shows twice what two nodes send',
    file: watch,
    right: 'if (told.number <= (this.last ?? 0)) continue;',
    wrong: '',
  },
  {
    rule: 'goes back to the node that has just hung',
    file: consortium,
    right: 'else if (error instanceof FramingError) this.#suspectedMs.set(address, this.#options.clock.nowMs());',
    wrong: '',
  },
  { rule: 'takes a token that nobody has signed', file: tokens, right: '!timingSafeEqual(given, right) ||', wrong: '' },
  { rule: 'moves areas although nothing has changed', file: assignment, right: 'distinct(current)', wrong: '[] as Assignment[]' },
  {
    rule: 'deals areas out by a hash of their names',
    file: assignment,
    right: 'for (const { area, node } of before) if (draft.serving.has(area) && draft.isLive(node)) draft.put(area, node);',
    wrong: `for (const area of draft.serving.keys())
    for (let place = 0; draft.missing(area) > 0; place++)
      draft.put(area, draft.nodes[(weight(area, '') + place) % draft.nodes.length]!);`,
  },
  {
    rule: 'gives an area to the fullest node',
    file: assignment,
    right: '    free,\n    (node) => draft.load(node),',
    wrong: '    free,\n    (node) => -draft.load(node),',
  },
  {
    rule: 'takes a node for dead whose door for clients is crowded',
    file: wiring,
    right: 'healthPort: health.port, ',
    wrong: '',
  },
  {
    rule: 'lets strangers keep others out',
    file: serving,
    right: '!members.has(socket)',
    wrong: 'false',
  },
  {
    rule: 'takes letters of two scripts for one name',
    file: names,
    right: 'writings.some((writing) => writing.test(name)) &&',
    wrong: '',
  },
  {
    rule: 'has two users whose names look alike',
    file: accounts,
    right: '[name, password, role, key, skeleton(name)]',
    wrong: '[name, password, role, key, name]',
  },
  {
    rule: 'takes an old name for the one that it would be now',
    file: names,
    right: "old.get(text.normalize('NFC')) ??",
    wrong: '',
  },
  {
    rule: 'reads what a primary of before has, which slept through its end',
    file: 'src/store/database.ts',
    right: 'client.place !== this.#places[0]',
    wrong: 'false',
  },
];
