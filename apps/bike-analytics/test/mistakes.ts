/** Mistakes, each against a rule of DESIGN.md, that a test must find. */
import type { Mistake } from '@lab/testing';

const [stages, filter, broker] = ['src/roles/stages.ts', 'src/roles/filter.ts', 'src/roles/broker.ts'];
const [listeners, tripsSolver, solver] = ['src/roles/eof-listeners.ts', 'src/roles/trips-solver.ts', 'src/roles/solver.ts'];
const [entryPoint, session, fileReader] = ['src/roles/entry-point.ts', 'src/roles/client-session.ts', 'src/roles/file-reader.ts'];
const admission = 'src/domain/admission.ts';

export const mistakes: readonly Mistake[] = [
  {
    rule: 'acknowledges before its work is done',
    file: stages,
    right: 'broker.consume(queue, take,',
    wrong: 'broker.consume(queue, (delivery) => void Promise.resolve(take(delivery)).catch(() => {}),',
  },
  {
    rule: 'lets go of a redelivered copy of what it holds',
    file: tripsSolver,
    right: 'if (barrier.has(head.number)) return delivery.redelivered;',
    wrong: 'if (barrier.has(head.number)) return false;',
  },
  {
    rule: 'counts a repeated batch',
    file: tripsSolver,
    right: 'if (barrier.has(head.number)) return delivery.redelivered;',
    wrong: '',
  },
  {
    rule: 'reports a batch before the trips-solvers have it',
    file: filter,
    right: "    await toSolvers(topic === 'trips'",
    wrong: "    void toSolvers(topic === 'trips'",
  },
  {
    rule: 'acknowledges before its report is confirmed',
    file: filter,
    right: '    await broker.publish({ exchange',
    wrong: '    void broker.publish({ exchange',
  },
  {
    rule: 'passes the end of trips by its barrier',
    file: filter,
    right: "    head.topic === 'trips'\n",
    wrong: "    head.topic === 'nothing'\n",
    noBug: 'The trips-solvers count for themselves, whenever the end comes.',
  },
  {
    rule: 'reports a batch before the filters have it',
    file: broker,
    right: '    await cut(head, body, [delivery]);',
    wrong: '    void cut(head, body, [delivery]).catch(() => undefined);',
  },
  {
    rule: 'opens a barrier at the end, whatever has come',
    file: listeners,
    right: 'if (end !== undefined && count.barrier.open)',
    wrong: 'if (end !== undefined)',
    noBug: 'The trips-solvers count for themselves, whenever the end comes.',
  },
  {
    rule: 'acknowledges what a barrier has counted',
    file: listeners,
    right: '    return part.settled;',
    wrong: '',
  },
  {
    rule: 'lets go before the end is passed on',
    file: listeners,
    right: 'await part.settleAfter(() => open(gate, end, delivery));',
    wrong: 'await part.settleAfter(async () => void open(gate, end, delivery));',
  },
  {
    rule: 'lets go of a shard before its part is confirmed',
    file: tripsSolver,
    right: 'await part.settleAfter(() => this.#publishPartial(message.head, shard, part.state, delivery));',
    wrong: 'await part.settleAfter(async () => void this.#publishPartial(message.head, shard, part.state, delivery));',
  },
  {
    rule: 'keeps what a lost seat had seen',
    file: tripsSolver,
    right: 'left: (queue) => void this.#held.delete(queue),',
    wrong: 'left: () => undefined,',
    noBug: 'Who sits down again begins with nothing, in its place.',
  },
  {
    rule: 'joins the parts before all are there',
    file: solver,
    right: 'if (barrier.open) await',
    wrong: 'if (barrier.seen > 0) await',
  },
  { rule: 'acknowledges a part at once', file: solver, right: '    return part.settled;', wrong: '' },
  { rule: 'lets go of an answer before its client has it', file: entryPoint, right: '    return session.over;', wrong: '' },
  {
    rule: 'ends a topic before its batches are confirmed',
    file: entryPoint,
    right: '      await session.published();',
    wrong: '',
  },
  {
    rule: 'forgets what a client that comes back had finished',
    file: entryPoint,
    right: 'session.acknowledged.set(topic, batches);\n    }',
    wrong: '{}\n    }',
  },
  {
    rule: 'lets a session lapse while its client waits',
    file: entryPoint,
    right: "    await tellHolders(broker, sessionExchange, 'renew', session.id);",
    wrong: '',
  },
  {
    rule: 'says nothing of a dead letter',
    file: entryPoint,
    right: '    await this.#end(session, reason, diedOfBroker(delivery.headers));\n    return',
    wrong: '    return',
  },
  { rule: 'forgets why a session failed', file: entryPoint, right: '    return session.forgotten;', wrong: '' },
  {
    rule: 'runs beside another that has its queues',
    file: stages,
    right: 'const consumer = await consumeAlone(parts, queue, take, { prefetch: heldMax, failureLimit });',
    wrong: 'const consumer = await parts.broker.consume(queue, take, { prefetch: heldMax, failureLimit });',
  },
  { rule: 'lives on when it has lost its queue', file: stages, right: '        consumer.closed.catch(fail);', wrong: '' },
  {
    rule: 'hears no more of its sessions and lives on',
    file: stages,
    right: '{ ...parts, onLost: fail }',
    wrong: '{ ...parts, onLost: () => undefined }',
  },
  {
    rule: 'looks for a seat that is gone',
    file: tripsSolver,
    right: '      onLost: this.#fail,\n',
    wrong: '      onLost: () => undefined,\n',
  },
  {
    rule: 'waits for ever for what was lost with a queue',
    file: entryPoint,
    right: '    else if (stillMs >= stillTimeoutsMax * sessionTimeoutMs)',
    wrong: '    else if (stillMs < 0)',
  },
  {
    rule: 'takes a session for lost while its client sends nothing',
    file: entryPoint,
    right: 'if (!mustMove) session.movedMs = clock.nowMs();',
    wrong: '',
  },
  {
    rule: 'lets who sends nothing stop the others',
    file: entryPoint,
    right: ' || this.#admission.isWaitedFor(session.id)',
    wrong: '',
  },
  {
    rule: 'forgets that a session that failed may begin again',
    file: session,
    right: 'new RefusedError(reason, again)',
    wrong: 'new RefusedError(reason)',
  },
  {
    rule: 'shows nothing to who watches',
    file: tripsSolver,
    right: 'this.#show(message.head, shard, part.state, delivery);',
    wrong: '',
  },
  {
    rule: 'ends a session again at each beat that has ended',
    file: entryPoint,
    right: 'if (session.connected && session.failure === undefined) this',
    wrong: 'if (session.connected) this',
  },
  {
    rule: 'takes up a session that the roles have forgotten',
    file: entryPoint,
    right: 'if (clock.nowMs() - session.renewedMs >= sessionTimeoutMs)',
    wrong: 'if (clock.nowMs() < 0)',
  },
  {
    rule: 'refuses for good where only a queue is gone',
    file: entryPoint,
    right: 'await this.#end(session, reason, diedOfBroker(delivery.headers));',
    wrong: 'await this.#end(session, reason);',
  },
  { rule: 'lets an older connection send after a newer one came', file: session, right: '    await this.#left;', wrong: '' },
  {
    rule: 'gives back the window with every report',
    file: admission,
    right: 'if (!batch?.missing.delete(by) || batch.missing.size > 0) return;',
    wrong: 'if (!batch?.missing.delete(by)) return;',
  },
  {
    rule: 'wakes nobody when the window has room',
    file: admission,
    right: '    this.#bytes -= batch.bytes;\n    this.#wake();',
    wrong: '    this.#bytes -= batch.bytes;',
  },
  {
    rule: 'goes on with a session that the system may have forgotten',
    file: fileReader,
    right: '    if (clock.nowMs() > session.safeUntilMs) session = newSession(parts);',
    wrong: '',
  },
  {
    rule: 'begins again with the session that was refused',
    file: fileReader,
    right: 'error.again) session = newSession(parts);',
    wrong: 'error.again) session.acknowledged.clear();',
  },
  {
    rule: 'sends again what the entry point has',
    file: fileReader,
    right: 'if (number >= from) await',
    wrong: 'if (from >= 0) await',
  },
];
