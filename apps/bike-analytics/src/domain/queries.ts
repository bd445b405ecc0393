/** All queries, and what follows from them. */
import { busiestStations } from './queries/busiest-stations.ts';
import { doubledStations } from './queries/doubled-stations.ts';
import { farStations } from './queries/far-stations.ts';
import { rainyTrips } from './queries/rainy-trips.ts';
import type { AnyQuery, Setting, Use, Values } from './query.ts';
import { topics, type FilterName, type Topic } from './terms.ts';

const list = [rainyTrips, doubledStations, farStations, busiestStations] as const;
type Listed = (typeof list)[number];

/** The answers to all queries, by name. */
export type Answers = { [Q in Listed as Q['name']]: ReturnType<Q['merge']> };

export const queries: readonly AnyQuery[] = list;

/** The settings of all queries, whose names are different. */
export const querySettings = Object.fromEntries(
  queries.flatMap(({ settings }) => Object.entries(settings)),
) as unknown as Readonly<Record<string, Setting<number> | Setting<string>>>;

/** A session's settings, out of whatever else there is in a configuration. */
export const settingsOf = (config: object): Values =>
  Object.fromEntries(Object.keys(querySettings).map((name) => [name, (config as Values)[name]!]));

export const defaultSettings: Values = Object.fromEntries(
  Object.entries(querySettings).map(([name, each]) => [name, each.default]),
);

/** What one kind of filter does. */
export interface Filter extends Use<Values> {
  name: FilterName;
  topic: Topic;
  query: AnyQuery;
}

const filtersFor = (topic: Topic): Filter[] =>
  queries.flatMap((query) => {
    const use = query.topics[topic];
    return use === undefined ? [] : [{ ...use, name: `${topic}-${query.number}` as const, topic, query }];
  });

/** The filters that get a share of each topic. */
export const filtersOf: Readonly<Record<Topic, readonly Filter[]>> = {
  weather: filtersFor('weather'),
  stations: filtersFor('stations'),
  trips: filtersFor('trips'),
};
export const filters: readonly Filter[] = topics.flatMap((topic) => filtersOf[topic]);
