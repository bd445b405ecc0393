/** The story of the README: two processes that find each other, and what becomes of the one whose cable is pulled. */
import { systemClock } from '@lab/process/time';
import { makeMemoryRegistry } from '../src/index.ts';

const registry = makeMemoryRegistry({ clock: systemClock, sessionTimeoutMs: 200 });
const [a, b] = [registry.connect(), registry.connect()];

await a.announce('web', { host: 'a', port: 8080 }, { onRenewed: (sequence) => console.log(`a is back, as number ${sequence}`) });
await b.announce('web', { host: 'b', port: 8080 });
console.log(await b.list('web'));

const first = await a.elect('primary', 'a');
console.log(`a leads in epoch ${first.epoch}`);
void first.lost.then(() => console.log('a knows that it leads no more'));
const waiting = b.elect('primary', 'b');

registry.cut(a);
const second = await waiting;
console.log(`b leads in epoch ${second.epoch}`);

registry.heal(a);
for await (const instances of b.watch('web')) {
  console.log(instances.map(({ endpoint }) => endpoint['host']).join(', '));
  if (instances.length === 2) break;
}
await Promise.all([a.close(), b.close()]);
