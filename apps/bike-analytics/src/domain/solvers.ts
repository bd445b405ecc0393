/** The states of the trips-solvers and the merges of the solvers, by query. */
import type { Table } from '@lab/columns';
import type { AnswerOf } from './answers.ts';
import { DoubledStations, mergeDoubledStations, type DoubledStationsPartial } from './doubled-stations.ts';
import { FarStations, mergeFarStations, type FarStationsPartial } from './far-stations.ts';
import { mergeRainyTrips, RainyTrips, type RainyTripsPartial } from './rainy-trips.ts';
import type { City, Query } from './terms.ts';

/** What a shard of a query makes of its part in answering. */
export interface PartialOf {
  1: RainyTripsPartial;
  2: DoubledStationsPartial;
  3: FarStationsPartial;
}

/**
 * What a trips-solver keeps of one session. Batches of both kinds may come in any order, but each (topic, number) once; nothing is
 * joined before `partial`, so that the answers are the same to the last bit. A batch that does not fit throws and changes nothing.
 */
export interface SolverState<Q extends Query = Query> {
  /** Adds weather or stations. */
  addStatic(number: number, city: City, table: Table): void;
  addTrips(number: number, city: City, table: Table): void;
  /** The shard's part of the answer, as JSON can carry it; complete when every batch was added. */
  partial(): PartialOf[Q];
}

export const newSolverState: { readonly [Q in Query]: () => SolverState<Q> } = {
  1: () => new RainyTrips(),
  2: () => new DoubledStations(),
  3: () => new FarStations(),
};

/** The answer of a query from the parts of all its shards, in any order, each once: as JSON brought them from `partial`. */
export const mergePartials: { readonly [Q in Query]: (partials: readonly unknown[]) => AnswerOf[Q] } = {
  1: (partials) => mergeRainyTrips(partials as RainyTripsPartial[]),
  2: (partials) => mergeDoubledStations(partials as DoubledStationsPartial[]),
  3: (partials) => mergeFarStations(partials as FarStationsPartial[]),
};
