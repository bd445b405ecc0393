import { describe, expect, it } from 'vitest';
import type { RegularMembership } from './codec.ts';
import { memberOf, viewOf } from './view.ts';

const [a, b, c, d] = ['#a#one', '#b#one', '#c#two', '#d#two'] as const;

function membership(
  cause: RegularMembership['cause'],
  members: string[],
  ownSet: string[],
  others: string[][] = [],
): RegularMembership {
  return {
    type: 'membership',
    group: 'chat',
    cause,
    groupId: [0x1cc59726, 0x6b013ed8, 3],
    members,
    sets: [ownSet, ...others],
    ownSet,
  };
}

describe('a view', () => {
  it('has the group id for an id, the members by name, and the one that reads it', () => {
    expect(viewOf(membership('join', [a, b], [b]), b, true)).toEqual({
      type: 'view',
      id: '1cc59726-6b013ed8-3',
      cause: 'join',
      members: [
        { id: a, name: 'a' },
        { id: b, name: 'b' },
      ],
      self: b,
      together: [b],
    });
    expect(viewOf(membership('join', [a], [a]), b, true)).toMatchObject({ self: undefined, together: [] });
  });

  it('after a join has all but the newcomer together', () => {
    expect(viewOf(membership('join', [a, b, c], [c]), a, false).together).toEqual([a, b]);
  });

  it.each(['leave', 'disconnect'] as const)('after a %s has all that are left together', (cause) => {
    expect(viewOf(membership(cause, [a, b], [c]), a, false).together).toEqual([a, b]);
  });

  it("after a change of the network has the receiver's own set together, in the order of the members", () => {
    expect(viewOf(membership('network', [a, b, c, d], [b, a], [[c, d]]), a, false).together).toEqual([a, b]);
  });

  it('has nobody together with a member that has seen none before, whatever the cause', () => {
    expect(viewOf(membership('network', [a, b], [a, b]), a, true).together).toEqual([a]);
  });
});

describe('a member', () => {
  it('has the name within its private name, or the whole where that is no private name', () => {
    expect(memberOf('#alice#localhost')).toEqual({ id: '#alice#localhost', name: 'alice' });
    expect(memberOf('chat')).toEqual({ id: 'chat', name: 'chat' });
  });
});
