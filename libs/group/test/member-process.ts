/**
 * A member as a process of its own, for faults that only processes have. It replicates a journal, to which it adds without pause until its input says `rest`, and ends when
 * its input ends. Each event is a line of JSON on its output (`MemberEvent`); its one argument is a `MemberSettings` as JSON.
 */
import { createInterface } from 'node:readline';
import { connectZookeeper, type Discovery } from '@lab/discovery';
import { connectRabbitmq } from '@lab/middleware';
import { FencedError, makeLogGroup, Replica, type Group, type Machine } from '../src/index.ts';
import type { MemberEvent, MemberSettings } from './member-events.ts';
import { systemClock } from '@lab/process/time';
import { randomToken } from './token.ts';

const print = (event: MemberEvent): void => void process.stdout.write(`${JSON.stringify(event)}\n`);

/** What all members have said, in order. */
class Journal implements Machine {
  #lines: string[] = [];

  apply(command: Buffer): void {
    const line = command.toString();
    this.#lines.push(line);
    print({ type: 'applied', line });
  }

  viewChanged(): void {}

  snapshot(): Buffer {
    return Buffer.from(JSON.stringify(this.#lines));
  }

  restore(snapshot: Buffer): void {
    this.#lines = snapshot.length === 0 ? [] : (JSON.parse(snapshot.toString()) as string[]);
    print({ type: 'restored', lines: this.#lines });
  }
}

/** Tells of the views, in their place among what is applied. */
function tellingViews(group: Group): Group {
  return {
    features: group.features,
    close: () => group.close(),
    async join(groupName, name) {
      const membership = await group.join(groupName, name);
      return {
        multicast: (body, service) => membership.multicast(body, service),
        leave: () => membership.leave(),
        async *[Symbol.asyncIterator]() {
          for await (const event of membership) {
            if (event.type === 'view') print({ ...event, members: event.members.map(({ id }) => id) });
            yield event;
          }
        },
      };
    },
  };
}

/** Tells when this process is elected to write the views. */
function tellingElections(discovery: Discovery): Discovery {
  return {
    announce: (...args) => discovery.announce(...args),
    list: (service) => discovery.list(service),
    watch: (service) => discovery.watch(service),
    record: (name) => discovery.record(name),
    close: () => discovery.close(),
    async elect(...args) {
      const leadership = await discovery.elect(...args);
      print({ type: 'writes views', epoch: leadership.epoch });
      return leadership;
    },
  };
}

let numbers = 0;
async function say(replica: Replica, name: string): Promise<void> {
  const epoch = replica.leads;
  const line = `${name}.${++numbers} ${epoch === undefined ? 'member' : `leader ${epoch}`}`;
  print({ type: 'submitted', line });
  try {
    await replica.submit(Buffer.from(line), epoch);
    print({ type: 'resolved', line });
  } catch (error) {
    print({ type: error instanceof FencedError ? 'fenced' : 'indefinite', line });
  }
}

/** Commands in flight at a time: so many that wherever a fault strikes there is one. */
const talkers = 3;

async function main({ rabbitmq, zookeeper, groupName, name, sessionTimeoutMs, isSilent }: MemberSettings): Promise<void> {
  const broker = await connectRabbitmq({ url: rabbitmq });
  const discovery = tellingElections(await connectZookeeper({ servers: zookeeper, sessionTimeoutMs }));
  const group = tellingViews(makeLogGroup({ broker, discovery, clock: systemClock, newToken: randomToken }));
  const token = randomToken();
  const replica = new Replica({ group, groupName, name, machine: new Journal(), isCandidate: () => true, token });
  await replica.start();
  let isOver = isSilent;
  const talk = async (): Promise<void> => {
    while (!isOver) await say(replica, `${name}.${token}`);
  };
  const talking = Promise.all(Array.from({ length: talkers }, talk)).then(() => print({ type: 'rests' }));
  for await (const command of createInterface(process.stdin)) if (command === 'rest') isOver = true;
  isOver = true;
  await talking;
  await replica.stop();
  await Promise.all([broker.close(), discovery.close()]);
}

await main(JSON.parse(process.argv[2]!) as MemberSettings);
