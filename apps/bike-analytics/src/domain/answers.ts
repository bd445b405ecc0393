/** The answers, in the shape in which they are shown and written to a file. Numbers are unrounded; lists are sorted by their keys, texts by code units. */
import type { City } from './terms.ts';

/** The trips that started on one rainy day in one city. */
export interface RainyDay {
  city: City;
  /** YYYY-MM-DD */
  date: string;
  averageSeconds: number;
  trips: number;
}

/** Query 1: how long trips last that start on days with more than 30 mm of rain in their city. */
export interface RainyTripsAnswer {
  /** Null when there was no such trip. */
  averageSeconds: number | null;
  trips: number;
  /** Days with trips only, by city and date. */
  days: RainyDay[];
}

/** A station whose started trips at least doubled from 2016 to 2017. */
export interface DoubledStation {
  city: City;
  name: string;
  trips2016: number;
  trips2017: number;
}

/** Query 2, and what it had to leave out. */
export interface DoubledStationsAnswer {
  /** By city and name. */
  stations: DoubledStation[];
  /** Trips of 2016 and 2017 whose start joins no station; not those of Montreal, which query 3 counts. */
  unknownStation: number;
}

/** A station of Montreal that riders reach from more than 6 km away on average. */
export interface FarStation {
  name: string;
  averageKm: number;
  trips: number;
}

/** Query 3, and what it had to leave out. */
export interface FarStationsAnswer {
  /** By name. */
  stations: FarStation[];
  /** Trips of Montreal whose start or end joins no station. */
  unknownStation: number;
  /** Trips of Montreal that join both stations, one of them without coordinates. */
  noCoordinates: number;
}

/** The answer of each query, as its solver gives it. */
export interface AnswerOf {
  1: RainyTripsAnswer;
  2: DoubledStationsAnswer;
  3: FarStationsAnswer;
}

/** Trips that at least one query had to do without; none is counted twice. */
export interface LeftOut {
  unknownStation: number;
  noCoordinates: number;
}

/** The three answers as one. */
export interface Answers {
  rainyTrips: RainyTripsAnswer;
  doubledStations: DoubledStation[];
  farStations: FarStation[];
  leftOut: LeftOut;
}

/** A row of the input that was not taken. */
export interface RejectedRow {
  file: string;
  /** Of the first line of the row; the header is line 1. */
  line: number;
  reason: string;
}

/** What a run gives: the answers, and what was wrong with the input. */
export interface Results extends Answers {
  /** The first 100 of each file. */
  rejected: RejectedRow[];
  /** How many in all, of each file that has some. */
  rejectedRows: Readonly<Record<string, number>>;
}

/** Puts the answers of the three solvers together. */
export function joinAnswers(answers: AnswerOf): Answers {
  const { 1: rainyTrips, 2: doubled, 3: far } = answers;
  return {
    rainyTrips,
    doubledStations: doubled.stations,
    farStations: far.stations,
    leftOut: { unknownStation: doubled.unknownStation + far.unknownStation, noCoordinates: far.noCoordinates },
  };
}

/** Orders by code units, the first texts that differ decide: the same on every machine, whatever its language. */
export function compareTexts(a: readonly string[], b: readonly string[]): number {
  const at = a.findIndex((text, index) => text !== b[index]);
  return at === -1 ? 0 : a[at]! < b[at]! ? -1 : 1;
}
