export * from './port.ts';
export { makeLogGroup, type LogGroupOptions } from './log-group.ts';
export { makeMemoryGroups, type MemoryGroups, type MemoryGroupsOptions } from './memory.ts';
export { FencedError, Replica, type ReplicaOptions } from './replica.ts';
export { leaderOf, type Leadership, type Machine } from './replication.ts';
export { tracedGroup } from './traced.ts';
export { makeSpreadGroup, type SpreadOptions } from './spread/spread-group.ts';
