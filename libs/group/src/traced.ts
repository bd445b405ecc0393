/** A group whose multicasts leave spans, and whose views are noted. Of a log's group the broker tells deliveries; those of others leave none. */
import { note, tracedCall, type Tracer } from '@lab/tracing';
import type { Group, GroupEvent, Membership, View } from './port.ts';

/** The group with spans; without a tracer the group itself. `describe` says what a body says, in a few words of the app. */
export function tracedGroup(group: Group, tracer: Tracer | undefined, describe: (body: Uint8Array) => string): Group {
  if (tracer === undefined) return group;
  return {
    features: group.features,
    join: async (name, member) => tracedMembership(await group.join(name, member), name, tracer, describe),
    close: () => group.close(),
  };
}

function tracedMembership(
  membership: Membership,
  group: string,
  tracer: Tracer,
  describe: (body: Uint8Array) => string,
): Membership {
  return {
    multicast(body, service) {
      const attributes = { 'rpc.system': 'group', 'rpc.method': 'multicast', 'lab.message': describe(body) };
      return tracedCall(tracer, `multicast ${group}`, { attributes }, () => membership.multicast(body, service));
    },
    leave: () => membership.leave(),
    async *[Symbol.asyncIterator](): AsyncGenerator<GroupEvent> {
      for await (const event of membership) {
        if (event.type === 'view') note(tracer, viewText(group, event));
        yield event;
      }
    },
  };
}

const viewText = (group: string, { id, cause, members }: View): string =>
  `view ${id} of ${group} (${cause}): ${members.map(({ name }) => name).join(', ')}`;
