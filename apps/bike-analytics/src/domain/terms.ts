/** The words of this system that are fixed: what the data is about, in the order in which it is sent. */
export const topics = ['weather', 'stations', 'trips'] as const;
export type Topic = (typeof topics)[number];

export const cities = ['montreal', 'toronto', 'washington'] as const;
export type City = (typeof cities)[number];

/** The city that query 3 asks about: the only one whose stations have coordinates. */
export const farCity: City = 'montreal';

export const queries = [1, 2, 3] as const;
export type Query = (typeof queries)[number];

/** A filter is named by its topic and the query it works for. */
export const filterNames = ['weather-1', 'stations-2', 'stations-3', 'trips-1', 'trips-2', 'trips-3'] as const;
export type FilterName = (typeof filterNames)[number];

/** Which filters get a share of each topic. */
export const filtersOf: Readonly<Record<Topic, readonly FilterName[]>> = {
  weather: ['weather-1'],
  stations: ['stations-2', 'stations-3'],
  trips: ['trips-1', 'trips-2', 'trips-3'],
};

/** The query that a filter works for. */
export function queryOf(filter: FilterName): Query {
  return Number(filter.at(-1)) as Query;
}
