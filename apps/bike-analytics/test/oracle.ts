/**
 * The three answers by DuckDB, straight from the CSV files: an oracle that shares nothing with the system, and the contestant of the
 * bench. It expects files without malformed rows, as DuckDB has its own idea of what to do with one.
 */
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import type { Answers, DoubledStation, FarStation, RainyDay } from '../src/domain/answers.ts';
import { cities, type City, type Topic } from '../src/domain/terms.ts';

export interface OracleOptions {
  threads?: number;
  /** Days from the date of a weather row to the day that it describes. */
  weatherOffsetDays?: number;
}

/** Answers the three queries from `<directory>/<city>/<topic>.csv`. */
export async function answerWithDuckdb(
  directory: string,
  { threads = 2, weatherOffsetDays = -1 }: OracleOptions = {},
): Promise<Answers> {
  const instance = await DuckDBInstance.create(':memory:', { threads: String(threads) });
  const connection = await instance.connect();
  try {
    await connection.run(tablesSql(directory, weatherOffsetDays));
    const doubled = await query<DoubledStation & { isKnown: boolean }>(connection, doubledStationsSql);
    const far = await query<FarStation & { left: 'unknown' | 'unplaced' | null }>(connection, farStationsSql);
    const tripsOf = (left: string) => far.find((row) => row.left === left)?.trips ?? 0;
    const unknownStarts = doubled.filter(({ city, isKnown }) => !isKnown && city !== 'montreal');
    return {
      rainyTrips: await rainyTrips(connection),
      doubledStations: doubled
        .filter(({ isKnown, trips2016, trips2017 }) => isKnown && trips2016 >= 1 && trips2017 >= 2 * trips2016)
        .map(({ city, name, trips2016, trips2017 }) => ({ city, name, trips2016, trips2017 }))
        .sort((a, b) => compare(a.city, b.city) || compare(a.name, b.name)),
      farStations: far
        .filter(({ left, averageKm }) => left === null && averageKm > 6)
        .map(({ name, averageKm, trips }) => ({ name, averageKm, trips }))
        .sort((a, b) => compare(a.name, b.name)),
      leftOut: {
        unknownStation:
          tripsOf('unknown') + unknownStarts.reduce((sum, { trips2016, trips2017 }) => sum + trips2016 + trips2017, 0),
        noCoordinates: tripsOf('unplaced'),
      },
    };
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

async function query<Row>(connection: DuckDBConnection, sql: string): Promise<Row[]> {
  const reader = await connection.runAndReadAll(sql);
  return reader.getRowObjectsJson() as Row[];
}

async function rainyTrips(connection: DuckDBConnection): Promise<Answers['rainyTrips']> {
  const rows = await query<{ city: City; date: string; seconds: number; trips: number }>(connection, rainyTripsSql);
  const trips = rows.reduce((sum, row) => sum + row.trips, 0);
  const seconds = rows.reduce((sum, row) => sum + row.seconds, 0);
  const days = rows.map((row): RainyDay => ({
    city: row.city,
    date: row.date,
    averageSeconds: row.seconds / row.trips,
    trips: row.trips,
  }));
  days.sort((a, b) => compare(a.city, b.city) || compare(a.date, b.date));
  return { averageSeconds: trips === 0 ? null : seconds / trips, trips, days };
}

/** By code units, whatever DuckDB's collation. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const columnTypes: Readonly<Record<Topic, Readonly<Record<string, string>>>> = {
  weather: { date: 'DATE', prectot: 'DOUBLE' },
  // Codes are texts: 007 is not 7.
  stations: { code: 'VARCHAR', name: 'VARCHAR', latitude: 'DOUBLE', longitude: 'DOUBLE', yearid: 'INTEGER' },
  trips: {
    start_date: 'TIMESTAMP',
    start_station_code: 'VARCHAR',
    end_station_code: 'VARCHAR',
    duration_sec: 'DOUBLE',
    yearid: 'INTEGER',
  },
};

/** The files of all cities as one relation; types are given by column name, so that DuckDB guesses nothing that matters. */
function filesSql(directory: string, topic: Topic): string {
  const types = Object.entries(columnTypes[topic]).map(([name, type]) => `'${name}': '${type}'`);
  const columns = Object.keys(columnTypes[topic]).join(', ');
  const reads = cities.map((city) => {
    const file = `${directory}/${city}/${topic}.csv`.replaceAll("'", "''");
    const options = `header = true, delim = ',', quote = '"', escape = '"', nullstr = '', parallel = true, types = {${types.join(', ')}}`;
    return `SELECT '${city}' AS city, ${columns} FROM read_csv('${file}', ${options})`;
  });
  return reads.join('\nUNION ALL ');
}

/** Of a repeated key the first row counts. Loading the trips once takes 3 to 10 % less time than reading the files anew for each query. */
function tablesSql(directory: string, weatherOffsetDays: number): string {
  return `
    CREATE TABLE rainy_days AS
      SELECT city, date + ${weatherOffsetDays} AS day
      FROM (SELECT *, row_number() OVER () AS line FROM (${filesSql(directory, 'weather')}))
      QUALIFY row_number() OVER (PARTITION BY city, date ORDER BY line) = 1 AND prectot > 30;
    CREATE TABLE stations AS
      SELECT city, code, name, nullif(latitude, -999) AS latitude, nullif(longitude, -999) AS longitude, yearid
      FROM (SELECT *, row_number() OVER () AS line FROM (${filesSql(directory, 'stations')}))
      WHERE code IS NOT NULL AND name IS NOT NULL
      QUALIFY row_number() OVER (PARTITION BY city, code, yearid ORDER BY line) = 1;
    CREATE TABLE trips AS ${filesSql(directory, 'trips')};`;
}

const rainyTripsSql = `
  SELECT city, strftime(day, '%Y-%m-%d') AS date, sum(greatest(duration_sec, 0)) AS seconds, count(*)::DOUBLE AS trips
  FROM (SELECT city, start_date::DATE AS day, duration_sec FROM trips) SEMI JOIN rainy_days USING (city, day)
  GROUP BY city, day`;

const doubledStationsSql = `
  SELECT city, name, name IS NOT NULL AS "isKnown",
    (count(*) FILTER (yearid = 2016))::DOUBLE AS trips2016, (count(*) FILTER (yearid = 2017))::DOUBLE AS trips2017
  FROM (SELECT city, start_station_code AS code, yearid FROM trips WHERE yearid IN (2016, 2017))
  LEFT JOIN stations USING (city, code, yearid)
  GROUP BY city, name`;

const farStationsSql = `
  WITH routes AS (
    SELECT start_station_code, end_station_code, yearid, count(*) AS trips FROM trips WHERE city = 'montreal' GROUP BY ALL
  ), places AS (
    SELECT code, name, yearid, latitude IS NOT NULL AND longitude IS NOT NULL AND NOT (latitude = 0 AND longitude = 0) AS is_placed, radians(latitude) AS north, radians(longitude) AS east
    FROM stations WHERE city = 'montreal'
  ), joined AS (
    SELECT routes.trips,
      CASE WHEN a.name IS NULL OR b.name IS NULL THEN 'unknown' WHEN NOT (a.is_placed AND b.is_placed) THEN 'unplaced' END AS "left",
      CASE WHEN "left" IS NULL THEN b.name END AS name,
      2 * 6371 * asin(least(1, sqrt(sin((b.north - a.north) / 2) ** 2 + cos(a.north) * cos(b.north) * sin((b.east - a.east) / 2) ** 2))) AS km
    FROM routes
    LEFT JOIN places a ON a.code = start_station_code AND a.yearid = routes.yearid
    LEFT JOIN places b ON b.code = end_station_code AND b.yearid = routes.yearid
  )
  SELECT "left", name, sum(km * trips) / sum(trips) AS "averageKm", sum(trips)::DOUBLE AS trips FROM joined GROUP BY ALL`;
