/** The story of the README: members that come, speak and die, and a state that outlives all of them. */
import { FencedError, makeMemoryGroups, Replica, type Group, type Machine, type Membership } from '../src/index.ts';
import { systemClock } from '@lab/process/time';
import { randomToken } from './token.ts';

const groups = makeMemoryGroups({ clock: systemClock, newToken: randomToken });

async function tell(membership: Membership): Promise<void> {
  for await (const event of membership) {
    if (event.type === 'view') console.log(`alice sees ${event.cause}: ${event.members.map(({ name }) => name).join(' ')}`);
    if (event.type === 'message') console.log(`alice hears ${event.sender.name}: ${event.body.toString()}`);
    if (event.type === 'checkpoint') event.save(Buffer.alloc(0));
  }
}

const [one, other] = [groups.connect(), groups.connect()];
const alice = await one.join('chat', 'alice');
const told = tell(alice);
await alice.multicast(Buffer.from('is anybody there?'));
const bob = await other.join('chat', 'bob');
await bob.multicast(Buffer.from('I am'));
await bob.leave();
await alice.multicast(Buffer.from('gone again'));
await one.close();
await told;

class Counter implements Machine {
  total = 0;
  apply(command: Buffer): number {
    return (this.total += Number(command.toString()));
  }
  viewChanged(): void {}
  snapshot(): Buffer {
    return Buffer.from(String(this.total));
  }
  restore(snapshot: Buffer): void {
    this.total = Number(snapshot.toString());
  }
}

async function startReplica(name: string): Promise<{ group: Group; replica: Replica; counter: Counter }> {
  const [group, counter] = [groups.connect(), new Counter()];
  const options = { group, groupName: 'counter', name, machine: counter, isCandidate: () => true, token: randomToken() };
  // The leader changes when the leader's session has ended.
  const replica = new Replica({ ...options, onChange: () => elected.get(name)?.(replica) });
  await replica.start();
  return { group, replica, counter };
}
const elected = new Map<string, (replica: Replica) => void>();

const [a, b] = [await startReplica('a'), await startReplica('b')];
console.log('a leads in epoch', a.replica.leads, 'and counts to', await a.replica.submit(Buffer.from('5'), a.replica.leads));
groups.kill(a.group);
await new Promise<void>((resolve) => elected.set('b', ({ leads }) => leads === 2 && resolve()));
console.log('b leads in epoch', b.replica.leads, 'and counts to', await b.replica.submit(Buffer.from('1'), 2));
await b.replica.submit(Buffer.from('100'), 1).catch((error: FencedError) => console.log(`${error.name}: ${error.message}`));
await b.group.close();

const c = await startReplica('c');
console.log('c comes when all have gone, and finds', c.counter.total);
await c.group.close();
