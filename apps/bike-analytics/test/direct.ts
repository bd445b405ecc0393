/** The domain without the system around it: the same batches, filters, shards and merges, with nothing in between. */
import { decodeTable, type Table } from '@lab/columns';
import { createReadStream } from 'node:fs';
import { defaultSettings, filtersOf, queries, type Answers, type Filter } from '../src/domain/queries.ts';
import type { Values } from '../src/domain/query.ts';
import { newTopicReader } from '../src/domain/reader.ts';
import type { City, Topic } from '../src/domain/terms.ts';
import { fileName, openDataSet } from '../src/client/data-files.ts';

export interface DirectOptions {
  shards: number;
  batchRows: number;
  weatherOffsetDays: number;
  settings?: Values;
  /** Puts deliveries, and later partials, in the order in which they arrive. */
  shuffle<T>(items: readonly T[]): T[];
}

interface Delivery {
  filter: Filter;
  topic: Topic;
  number: number;
  city: City;
  table: Table;
}

/** Answers the queries from `<directory>/<city>/<topic>.csv`. */
export async function answerDirectly(directory: string, options: DirectOptions): Promise<Answers> {
  const { settings = defaultSettings } = options;
  const deliveries = options.shuffle(await readDeliveries(directory, options));
  const answers = queries.map((query) => {
    const shards = Array.from({ length: options.shards }, () => query.state(settings));
    for (const { topic, number, city, table } of deliveries.filter(({ filter }) => filter.query === query)) {
      if (topic === 'trips') shards[number % options.shards]!.addTrips(number, city, table);
      else for (const shard of shards) shard.addStatic(number, city, table);
    }
    const parts = shards.map((shard): unknown => JSON.parse(JSON.stringify(shard.part())));
    return [query.name, query.merge(options.shuffle(parts), settings)];
  });
  return Object.fromEntries(answers) as Answers;
}

async function readDeliveries(
  directory: string,
  { batchRows, weatherOffsetDays, settings = defaultSettings }: DirectOptions,
): Promise<Delivery[]> {
  const deliveries: Delivery[] = [];
  const numbers = { weather: 0, stations: 0, trips: 0 };
  for (const { city, topic, path } of await openDataSet(directory)) {
    const reader = newTopicReader(topic, { file: fileName(city, topic), batchRows, weatherOffsetDays });
    for await (const piece of reader.read(createReadStream(path) as AsyncIterable<Uint8Array>)) {
      if (!('batch' in piece)) continue;
      const number = numbers[topic]++;
      for (const filter of filtersOf[topic]) {
        const table = filter.filter(city, decodeTable(piece.batch.table, filter.columns), settings);
        deliveries.push({ filter, topic, number, city, table });
      }
    }
  }
  return deliveries;
}
