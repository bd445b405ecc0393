/**
 * Every exchange and queue of the system, as data. Quorum queues keep what they hold over a restart of RabbitMQ; replies and
 * the order to stop concern processes that run now, and go with them.
 */
import type { Topology } from '@lab/middleware';

/** A message that a handler fails on so often is no message of ours. What a backup fails on is an outcome, not a failure. */
export const failureLimit = 3;

export const queueOf = {
  /** From the server, for the nodes manager: what admins want of the registry. */
  commands: 'backup-server.nodes-manager.commands',
  /** From requesters: how far a try is, and how it ended. */
  outcomes: 'backup-server.nodes-manager.outcomes',
  /** From the nodes manager, for any requester: what is due. */
  due: 'backup-server.backup-requester.due',
  dead: 'backup-server.dead',
  replies: (instance: string) => `backup-server.server.replies.${instance}`,
  orders: (instance: string) => `backup-server.orders.${instance}`,
} as const;

/** `shutdown` reaches every process. */
export const ordersExchange = 'backup-server.orders';

export const topology: Topology = {
  exchanges: [{ name: ordersExchange, type: 'fanout' }],
  queues: [
    { name: queueOf.dead },
    ...[queueOf.commands, queueOf.outcomes, queueOf.due].map((name) => ({ name, deadLetterQueue: queueOf.dead })),
  ],
};

export const ordersTopology = (instance: string): Topology => ({
  queues: [{ name: queueOf.orders(instance), type: 'classic', exclusive: true }],
  bindings: [{ exchange: ordersExchange, queue: queueOf.orders(instance) }],
});

export const repliesTopology = (instance: string): Topology => ({
  queues: [{ name: queueOf.replies(instance), type: 'classic', exclusive: true }],
});
