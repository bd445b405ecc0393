/** The domain without the system around it: the same batches, filters, shards and merges, with nothing in between. */
import type { Table } from '@lab/columns';
import { createReadStream } from 'node:fs';
import { columnsOf, filterRows } from '../src/domain/filters.ts';
import { joinAnswers, type Answers } from '../src/domain/answers.ts';
import { newTopicReader } from '../src/domain/reader.ts';
import { mergePartials, newSolverState } from '../src/domain/solvers.ts';
import { cities, filtersOf, queries, queryOf, topics, type City, type FilterName, type Topic } from '../src/domain/terms.ts';
import { fileName, openDataSet } from '../src/client/data-files.ts';

export interface DirectOptions {
  shards: number;
  batchRows: number;
  weatherOffsetDays: number;
  /** Puts deliveries, and later partials, in the order in which they arrive. */
  shuffle<T>(items: readonly T[]): T[];
}

interface Delivery {
  filter: FilterName;
  topic: Topic;
  number: number;
  city: City;
  table: Table;
}

/** Answers the three queries from `<directory>/<city>/<topic>.csv`. */
export async function answerDirectly(directory: string, options: DirectOptions): Promise<Answers> {
  const deliveries = options.shuffle(await readDeliveries(directory, options));
  const answers = queries.map((query) => {
    const shards = Array.from({ length: options.shards }, () => newSolverState[query]());
    for (const { topic, number, city, table } of deliveries.filter(({ filter }) => queryOf(filter) === query)) {
      if (topic === 'trips') shards[number % options.shards]!.addTrips(number, city, table);
      else for (const shard of shards) shard.addStatic(number, city, table);
    }
    const partials = shards.map((shard): unknown => JSON.parse(JSON.stringify(shard.partial())));
    return mergePartials[query](options.shuffle(partials));
  });
  return joinAnswers({ 1: answers[0], 2: answers[1], 3: answers[2] } as Parameters<typeof joinAnswers>[0]);
}

async function readDeliveries(directory: string, { batchRows, weatherOffsetDays }: DirectOptions): Promise<Delivery[]> {
  const data = await openDataSet(directory);
  const deliveries: Delivery[] = [];
  for (const topic of topics) {
    let number = 0;
    for (const city of cities) {
      const reader = newTopicReader(topic, { file: fileName(city, topic), batchRows, weatherOffsetDays });
      const batches = [];
      for await (const chunk of createReadStream(data.path(city, topic)) as AsyncIterable<Uint8Array>)
        batches.push(...reader.push(chunk));
      batches.push(...reader.end());
      for (const { table } of batches) {
        deliveries.push(
          ...filtersOf[topic].map((filter) => ({ filter, topic, number, city, table: filtered(filter, city, table) })),
        );
        number += 1;
      }
    }
  }
  return deliveries;
}

function filtered(filter: FilterName, city: City, table: Table): Table {
  return filterRows[filter](city, Object.fromEntries(columnsOf[filter].map((name) => [name, table[name]!])));
}
