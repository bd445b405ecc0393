/** Views and members as the port has them, from what a daemon says. */
import { services, type Member, type Service, type View } from '../port.ts';
import type { RegularMembership } from './codec.ts';

/**
 * The view that a membership message announces to the client with this private name; `first` when it knows none before. Its id is Spread's group id, which counts the
 * views of a group within one membership of the daemons.
 */
export function viewOf(membership: RegularMembership, privateName: string, first: boolean): View {
  const { cause, groupId, members } = membership;
  const [daemonsFirst, daemonsSecond, count] = groupId;
  return {
    type: 'view',
    id: `${daemonsFirst.toString(16)}-${daemonsSecond.toString(16)}-${count}`,
    cause,
    members: members.map(memberOf),
    self: members.includes(privateName) ? privateName : undefined,
    together: first ? members.filter((id) => id === privateName) : togetherIn(membership),
  };
}

/** On a join all but those who came are from the view before; after a loss all are; on a change of the network the receiver's own set says who. */
function togetherIn({ cause, members, ownSet }: RegularMembership): readonly string[] {
  if (cause === 'network') return members.filter((id) => ownSet.includes(id));
  if (cause === 'join') return members.filter((id) => !ownSet.includes(id));
  return members;
}

/** Of a private name, `#name#daemon`. */
export function memberOf(privateName: string): Member {
  return { id: privateName, name: /^#([^#]+)#/.exec(privateName)?.[1] ?? privateName };
}

export function isPortService(service: string): service is Service {
  return (services as readonly string[]).includes(service);
}
