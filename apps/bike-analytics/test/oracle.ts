/**
 * The answers by DuckDB, straight from the CSV files: an oracle that shares nothing with the system, and the contestant of the
 * bench. It expects files without malformed rows, as DuckDB has its own idea of what to do with one.
 */
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { defaultSettings, type Answers } from '../src/domain/queries.ts';
import type { Values } from '../src/domain/query.ts';
import { cities, type City, type Topic } from '../src/domain/terms.ts';

export interface OracleOptions {
  threads?: number;
  settings?: Values;
  /** Days from the date of a weather row to the day that it describes. */
  weatherOffsetDays?: number;
}

/** Answers the queries from `<directory>/<city>/<topic>.csv`. */
export async function answerWithDuckdb(
  directory: string,
  { threads = 2, settings = defaultSettings, weatherOffsetDays = -1 }: OracleOptions = {},
): Promise<Answers> {
  const instance = await DuckDBInstance.create(':memory:', { threads: String(threads) });
  const connection = await instance.connect();
  try {
    await connection.run(tablesSql(directory, weatherOffsetDays));
    const answers: [string, unknown][] = [];
    for (const [name, ask] of Object.entries(asks)) answers.push([name, await ask(connection, settings)]);
    return Object.fromEntries(answers) as unknown as Answers;
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** How each query is asked. */
const asks: { readonly [Name in keyof Answers]: (connection: DuckDBConnection, settings: Values) => Promise<Answers[Name]> } = {
  rainyTrips: askRainyTrips,
  doubledStations: askDoubledStations,
  farStations: askFarStations,
  busiestStations: askBusiestStations,
};

async function query<Row>(connection: DuckDBConnection, sql: string): Promise<Row[]> {
  const reader = await connection.runAndReadAll(sql);
  return reader.getRowObjectsJson() as Row[];
}

async function askRainyTrips(connection: DuckDBConnection, { rainAboveMm }: Values): Promise<Answers['rainyTrips']> {
  const rows = await query<{ city: City; date: string; seconds: number; trips: number }>(
    connection,
    `SELECT city, strftime(day, '%Y-%m-%d') AS date, sum(greatest(duration_sec, 0)) AS seconds, count(*)::DOUBLE AS trips
     FROM (SELECT city, start_date::DATE AS day, duration_sec FROM trips)
       SEMI JOIN (FROM rain WHERE prectot > ${rainAboveMm}) USING (city, day)
     GROUP BY city, day`,
  );
  const trips = rows.reduce((sum, row) => sum + row.trips, 0);
  const seconds = rows.reduce((sum, row) => sum + row.seconds, 0);
  const days = rows.map((row) => ({
    city: row.city,
    date: row.date,
    averageSeconds: row.seconds / row.trips,
    trips: row.trips,
  }));
  days.sort((a, b) => compare(a.city, b.city) || compare(a.date, b.date));
  const [unknown] = await query<{ trips: number }>(
    connection,
    `SELECT count(*)::DOUBLE AS trips FROM (SELECT city, start_date::DATE AS day FROM trips)
       ANTI JOIN (FROM rain WHERE prectot <> -999) USING (city, day)`,
  );
  return { averageSeconds: trips === 0 ? null : seconds / trips, trips, days, noWeather: unknown!.trips };
}

interface Starts {
  city: City;
  /** Null where a trip joins no station. */
  name: string | null;
  tripsBefore: number;
  tripsAfter: number;
  /** Of either year. */
  trips: number;
}

async function askDoubledStations(
  connection: DuckDBConnection,
  { yearBefore, yearAfter, growth }: Values,
): Promise<Answers['doubledStations']> {
  const rows = await query<Starts>(
    connection,
    `SELECT city, name, count(*)::DOUBLE AS trips, (count(*) FILTER (yearid = ${yearBefore}))::DOUBLE AS "tripsBefore",
       (count(*) FILTER (yearid = ${yearAfter}))::DOUBLE AS "tripsAfter"
     FROM (SELECT city, start_station_code AS code, yearid FROM trips WHERE yearid IN (${yearBefore}, ${yearAfter}))
     LEFT JOIN stations USING (city, code, yearid)
     GROUP BY city, name`,
  );
  const unknown = rows.filter(({ name }) => name === null);
  return {
    stations: rows
      .flatMap(({ city, name, tripsBefore, tripsAfter }) => (name === null ? [] : [{ city, name, tripsBefore, tripsAfter }]))
      .filter(({ tripsBefore, tripsAfter }) => tripsBefore >= 1 && tripsAfter >= Number(growth) * tripsBefore)
      .sort((a, b) => compare(a.city, b.city) || compare(a.name, b.name)),
    unknownStation: unknown.reduce((sum, { trips }) => sum + trips, 0),
  };
}

async function askFarStations(connection: DuckDBConnection, { farCity, farAboveKm }: Values): Promise<Answers['farStations']> {
  const rows = await query<{ left: string | null; name: string; averageKm: number; trips: number }>(
    connection,
    farStationsSql(String(farCity)),
  );
  const tripsOf = (left: string) => rows.find((row) => row.left === left)?.trips ?? 0;
  return {
    stations: rows
      .filter(({ left, averageKm }) => left === null && averageKm > Number(farAboveKm))
      .map(({ name, averageKm, trips }) => ({ name, averageKm, trips }))
      .sort((a, b) => compare(a.name, b.name)),
    unknownStation: tripsOf('unknown'),
    noCoordinates: tripsOf('unplaced'),
  };
}

async function askBusiestStations(connection: DuckDBConnection, { busiest }: Values): Promise<Answers['busiestStations']> {
  const rows = await query<{ city: City; name: string | null; trips: number }>(
    connection,
    `SELECT city, name, sum(trips)::DOUBLE AS trips
     FROM (SELECT city, start_station_code AS code, yearid, count(*) AS trips FROM trips GROUP BY ALL)
     LEFT JOIN stations USING (city, code, yearid)
     GROUP BY city, name`,
  );
  const known = rows.flatMap(({ city, name, trips }) => (name === null ? [] : [{ city, name, trips }]));
  known.sort((a, b) => b.trips - a.trips || compare(a.name, b.name));
  const ofCity = (city: City) => rows.filter((row) => row.city === city);
  return {
    stations: cities.flatMap((city) => known.filter((row) => row.city === city).slice(0, Number(busiest))),
    joined: cities.map((city) => ({
      city,
      trips: ofCity(city).reduce((sum, { trips }) => sum + trips, 0),
      unknownStation: ofCity(city).find(({ name }) => name === null)?.trips ?? 0,
    })),
  };
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
    CREATE TABLE rain AS
      SELECT city, date + ${weatherOffsetDays} AS day, prectot
      FROM (SELECT *, row_number() OVER () AS line FROM (${filesSql(directory, 'weather')}))
      QUALIFY row_number() OVER (PARTITION BY city, date ORDER BY line) = 1;
    CREATE TABLE stations AS
      SELECT city, code, name, nullif(latitude, -999) AS latitude, nullif(longitude, -999) AS longitude, yearid
      FROM (SELECT *, row_number() OVER () AS line FROM (${filesSql(directory, 'stations')}))
      WHERE code IS NOT NULL AND name IS NOT NULL
      QUALIFY row_number() OVER (PARTITION BY city, code, yearid ORDER BY line) = 1;
    CREATE TABLE trips AS ${filesSql(directory, 'trips')};`;
}

const farStationsSql = (farCity: string): string => `
  WITH routes AS (
    SELECT start_station_code, end_station_code, yearid, count(*) AS trips FROM trips WHERE city = '${farCity}' GROUP BY ALL
  ), places AS (
    SELECT code, name, yearid, latitude IS NOT NULL AND longitude IS NOT NULL AND NOT (latitude = 0 AND longitude = 0) AS is_placed, radians(latitude) AS north, radians(longitude) AS east
    FROM stations WHERE city = '${farCity}'
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
