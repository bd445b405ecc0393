/**
 * A query, from the columns that it needs to the table that people see. Whoever adds one writes a `Query` and puts it into the list of queries.ts:
 * filters, solvers, queues, settings and report follow.
 */
import type { Table } from '@lab/columns';
import type { City, Topic } from './terms.ts';

/** A threshold or a choice that the client may change for its session. */
export type Setting<Value> = { default: Value; about: string } & ([Value] extends [number]
  ? { min: number; max: number; whole?: boolean }
  : { oneOf: readonly Value[] });

/** The values of settings, by name. */
export type Values = Readonly<Record<string, number | string>>;

/** What a query does with a topic. */
export interface Use<S> {
  /** What a broker gives to its filter, of the columns of reader.ts. */
  columns: readonly string[];
  /** What its filter sends of a batch to the trips-solvers. Throws where columns are missing, or do not fit together: no repeat will help. */
  filter(city: City, table: Table, settings: S): Table;
}

/**
 * What a trips-solver keeps of one session. Batches of both kinds may come in any order, but each (topic, number) once; nothing is
 * joined before `part`, so that the answers are the same to the last bit. A batch that does not fit throws and changes nothing.
 */
export interface State<Part> {
  /** Adds weather or stations, as the filter gives them. */
  addStatic(number: number, city: City, table: Table): void;
  /** Adds trips, as the filter gives them. */
  addTrips(number: number, city: City, table: Table): void;
  /** The shard's part of the answer, as JSON can carry it; complete when every batch was added, and before that what there is so far. */
  part(): Part;
}

/** An answer for people: a sentence, and a table. */
export interface Shown {
  title: string;
  columns: readonly string[];
  rows: readonly (readonly (string | number)[])[];
  /** Trips that it had to do without, by why. */
  leftOut?: Readonly<Record<string, number>>;
  /** What looks wrong with the data. */
  hints?: readonly string[];
}

/** A trip as the straight loop knows it: with what it joins. */
export interface StraightTrip {
  city: City;
  /** Of its start, YYYY-MM-DD. */
  date: string;
  year: number;
  seconds: number;
  /** Of the day on which it started, in its city. */
  rainMm: number | undefined;
  start: StraightStation | undefined;
  end: StraightStation | undefined;
}

export interface StraightStation {
  name: string;
  /** Degrees; `NaN` is unknown. */
  latitude: number;
  longitude: number;
}

/** A query in the most obvious way, one trip after the other: to compare with, not for use. */
export interface Straight<Answer> {
  add(trip: StraightTrip): void;
  answer(): Answer;
}

/** Functions get all settings of a session, their own among them. Numbers in answers are unrounded; lists are sorted by their keys. */
export interface Query<Name extends string, S, Part, Answer> {
  /** Its place in the report, and in the names of its roles and queues: 1 to 9. */
  number: number;
  /** Of its answer, in the results. */
  name: Name;
  settings: { readonly [K in keyof S]: Setting<S[K]> };
  /** What it needs; trips are what all queries are about. */
  topics: Partial<Record<Topic, Use<S>>> & { trips: Use<S> };
  state(settings: S): State<Part>;
  /** The answer, from the parts of all shards in any order, each once. */
  merge(parts: readonly Part[], settings: S): Answer;
  show(answer: Answer, settings: S): Shown;
  /** Shares no code with the rest, so that a mistake would have to be made twice to go unseen. */
  straight(settings: S): Straight<Answer>;
}

/** A query that a role works for, whichever it is. */
export type AnyQuery = Query<string, Values, unknown, unknown>;

/** Infers the types of a query. */
export const defineQuery = <const Name extends string, S extends Values, Part, Answer>(query: Query<Name, S, Part, Answer>) =>
  query;
