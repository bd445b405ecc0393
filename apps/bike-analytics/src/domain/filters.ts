/** What each filter gets of a batch, and what it makes of it. Tables are described in table.ts and reader.ts. */
import type { Table } from '@lab/columns';
import { countStarts, keepComparedYears } from './doubled-stations.ts';
import { keepStationsOfFarCity, keepTripsOfFarCity } from './far-stations.ts';
import { keepRainyDays, sumByDay } from './rainy-trips.ts';
import type { City, FilterName } from './terms.ts';

/** The columns that a broker role passes to each filter, and no others. */
export const columnsOf: Readonly<Record<FilterName, readonly string[]>> = {
  'weather-1': ['day', 'rainMm'],
  'stations-2': ['code', 'name', 'year'],
  'stations-3': ['code', 'name', 'latitude', 'longitude', 'year'],
  'trips-1': ['day', 'seconds', 'micros'],
  'trips-2': ['start', 'year', 'codes'],
  'trips-3': ['start', 'end', 'year', 'codes'],
};

/** What a trips-solver is sent of a batch. Throws where columns are missing, or do not fit together: no repeat will help. */
export const filterRows: Readonly<Record<FilterName, (city: City, table: Table) => Table>> = {
  'weather-1': keepRainyDays,
  'stations-2': keepComparedYears,
  'stations-3': keepStationsOfFarCity,
  'trips-1': sumByDay,
  'trips-2': countStarts,
  'trips-3': keepTripsOfFarCity,
};
