import { systemClock } from '@lab/process';
import { connectTo } from './src/asking.ts';
import { silenceMs, watch } from './src/client/watch.ts';
import { startEmbeddedPostgres } from './src/embedded-postgres.ts';
import { administrator, ConsortiumInProcess } from './test/consortium-in-process.ts';
const pg = await startEmbeddedPostgres();
for (const [wanted, fault] of [[2, 'pause'], [1, 'pause'], [2, 'kill'], [1, 'kill'], [1, 'cut'], [1, 'stop']] as const) {
  const s = await ConsortiumInProcess.start(pg);
  const c = s.client();
  const { token } = await c.agent('login', administrator);
  await c.agent('addArea', { token, area: 'sports', nodes: wanted, key: 'k1' });
  await c.node('sports', 'subscribe', { token, area: 'sports', key: 'x' } as never);
  const acked = new Map<number, number>(); const seen = new Map<number, number>(); const order: number[] = [];
  const ctl = new AbortController();
  let current = '';
  const w = watch({ consortium: s.client(), connect: (a) => { current = a; return connectTo(a, { idleTimeoutMs: silenceMs }); }, clock: systemClock, token, areas: [], signal: ctl.signal, onItem: (_, i) => { order.push(i.number); seen.set(i.number, performance.now()); } });
  await new Promise((r) => setTimeout(r, 400));
  let faulted = 0;
  const t0 = performance.now();
  for (let i = 0; performance.now() - t0 < 6000; i++) {
    if (!faulted && performance.now() - t0 > 1200) { const name = s.nodes.find((n) => s.addressOf(n) === current)!; faulted = performance.now(); if (fault === 'kill') await s.kill(name); else if (fault === 'stop') void s.stop(name); else s[fault](name); }
    const { number } = await c.node('sports', 'post', { token, area: 'sports', key: `p${i}`, text: 'x' });
    acked.set(number, performance.now());
    await new Promise((r) => setTimeout(r, 20));
  }
  await new Promise((r) => setTimeout(r, 300));
  ctl.abort(); await w;
  const missing = [...acked.keys()].filter((n) => n >= order[0]! && !seen.has(n));
  const sorted = order.every((n, i) => i === 0 || n > order[i - 1]!);
  const times = [...seen.values()].sort((a, b) => a - b);
  const gap = Math.max(...times.map((t, i) => (i === 0 ? 0 : t - times[i - 1]!)));
  const ackTimes = [...acked.values()]; const ackGap = Math.max(...ackTimes.map((t, i) => (i === 0 ? 0 : t - ackTimes[i - 1]!)));
  console.log(wanted, fault, 'items', order.length, 'missing', missing.length, 'sorted', sorted, 'watch gap', gap.toFixed(0), 'ack gap', ackGap.toFixed(0));
  await s[Symbol.asyncDispose]();
}
await pg.stop(); process.exit(0);
