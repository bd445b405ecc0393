/**
 * Every exchange and queue of the system, as data. Queues are quorum queues: they keep what they hold over a restart of RabbitMQ.
 *
 * What a queue cannot get rid of after several failures goes to `bike-analytics.dead`, where the entry point reads it and ends the session
 * that it belongs to. No queue counts deaths of consumers: a batch that saw ten replicas die is as good as any other.
 */
import type { Queue, Topology } from '@lab/middleware';
import { filters, filtersOf, queries } from './domain/queries.ts';
import { topics, type FilterName, type Topic } from './domain/terms.ts';

/** How often a handler may fail on one message: an odd moment passes, a poisonous batch does not. */
export const failureLimit = 3;

export const queueOf = {
  broker: (topic: Topic) => `bike-analytics.broker-${topic}.batches`,
  filter: (filter: FilterName) => `bike-analytics.filter-${filter}.batches`,
  eofListener: 'bike-analytics.eof-listener.passed',
  eofTripsListener: (query: number) => `bike-analytics.eof-trips-listener.passed-${query}`,
  shard: (query: number, shard: number) => `bike-analytics.trips-solver-${query}.shard-${shard}`,
  solver: (query: number) => `bike-analytics.solver-${query}.partials`,
  passed: 'bike-analytics.entry-point.passed',
  answers: 'bike-analytics.entry-point.answers',
  dead: 'bike-analytics.dead',
} as const;

/** Rows for the trips-solvers of a query, by its number: the key is a shard's number, or `every` for what all shards need. */
export const shardExchange = (query: number) => `bike-analytics.trips-solver-${query}`;
export const everyShard = 'every';
/** What filters report: the key is the filter's name. The entry point hears of all, the eof-trips-listener of trips. */
export const passedExchange = 'bike-analytics.passed';
/** Which sessions last and which are over: each instance that holds something for them hears of it on a queue of its own. */
export const sessionExchange = 'bike-analytics.sessions';
/** Where a trips-solver without a seat asks those that have several to give one up. */
export const seatExchange = (query: number) => `bike-analytics.trips-solver-${query}.seats`;
/** Dead letters, as evidence: kept until 64 MiB are full, the oldest go first. */
export const deadLetterLog = 'bike-analytics.dead-letters';

/** Trips-solvers of a query at most. */
export const shardsMax = 32;

/** Queues of shards that there were when there were more trips-solvers: nobody takes from them, and they would fill. */
export const surplusQueues = (shards: number): string[] =>
  Array.from({ length: shardsMax - shards }, (_, index) => shards + index).flatMap((shard) =>
    queries.map(({ number }) => queueOf.shard(number, shard)),
  );

/** The topology that all processes share; `shards` is the number of trips-solvers of each query. */
export function topology(shards: number): Topology {
  const data = (name: string): Queue => ({ name, deadLetterQueue: queueOf.dead });
  const numbers = queries.map(({ number }) => number);
  const shardQueues = numbers.flatMap((query) =>
    Array.from({ length: shards }, (_, shard) => ({ query, shard, queue: queueOf.shard(query, shard) })),
  );
  return {
    exchanges: [
      { name: passedExchange, type: 'direct' },
      { name: sessionExchange, type: 'fanout' },
      ...numbers.map((query) => ({ name: shardExchange(query), type: 'direct' as const })),
    ],
    queues: [
      { name: queueOf.dead },
      ...topics.map((topic) => data(queueOf.broker(topic))),
      ...filters.map(({ name }) => data(queueOf.filter(name))),
      ...[queueOf.eofListener, queueOf.passed, queueOf.answers].map(data),
      ...numbers.flatMap((query) => [queueOf.eofTripsListener(query), queueOf.solver(query)].map(data)),
      ...shardQueues.map(({ queue }) => data(queue)),
    ],
    bindings: [
      ...filters.map(({ name }) => ({ exchange: passedExchange, routingKey: name, queue: queueOf.passed })),
      ...filtersOf.trips.map(({ name, query }) => ({
        exchange: passedExchange,
        routingKey: name,
        queue: queueOf.eofTripsListener(query.number),
      })),
      ...shardQueues.map(({ query, shard, queue }) => ({ exchange: shardExchange(query), routingKey: String(shard), queue })),
      ...shardQueues.map(({ query, queue }) => ({ exchange: shardExchange(query), routingKey: everyShard, queue })),
    ],
  };
}
