/**
 * A data set in the shape of "Public bike sharing in North America", made from a seed, of any size. Each query has something to find in it:
 *
 *   rain      about one day in eighty has more than 30 mm; wet days have fewer trips; a weather row dated D describes day D-1
 *   growth    more trips from year to year, and stations that become fashionable in 2017
 *   distance  a few stations of Montreal lie far out, and most riders come to them from the centre
 *
 * And it has the quirks of the real one: coordinates in Montreal only, `yearid` in the weather of Montreal only, two codes of one name, codes that change
 * with the year, trips that join no station, a few negative durations, `-999.0` for what was not measured; besides names that need quotes.
 */
import { Random } from './random.ts';
import { cities, topics, type City, type Topic } from '../src/domain/terms.ts';

export interface SyntheticOptions {
  /** Of all cities together. */
  trips: number;
  /** 32 bits; the same seed and number of trips make the same bytes. */
  seed: number;
}

/** One file, to be written piece by piece. */
export interface SyntheticFile {
  city: City;
  topic: Topic;
  /** Its text, some lines at a time. */
  readonly pieces: () => Iterable<string>;
}

const msPerDay = 86_400_000;
const firstDay = Date.UTC(2015, 10, 1) / msPerDay;
/** Not included: two years and a bit on both sides, so that there is something to leave out. */
const endDay = Date.UTC(2018, 1, 1) / msPerDay;
const years = [2015, 2016, 2017, 2018];

/** How a city differs from the others. */
interface Character {
  /** Its part of the trips. */
  share: number;
  stationsMax: number;
  firstCode: number;
  latitude: number;
  longitude: number;
  /** In winter, compared with summer. */
  winter: number;
  meanCelsius: number;
  streets: readonly string[];
  /** Between two streets in a station's name. */
  corner: string;
}

const characters: Readonly<Record<City, Character>> = {
  montreal: {
    share: 0.45,
    stationsMax: 500,
    firstCode: 6001,
    latitude: 45.515,
    longitude: -73.575,
    winter: 0.02,
    meanCelsius: 7,
    streets:
      'St-Denis,Rachel,Mont-Royal,St-Laurent,Sherbrooke,Ontario,Papineau,Berri,Maisonneuve,Peel,Atwater,Laurier,Côte-St-Antoine,Bernard,Clark,Milton,Beaubien,Masson,Hochelaga,Wellington,Notre-Dame,Université,Bélanger,Jarry'.split(
        ',',
      ),
    corner: ' / ',
  },
  toronto: {
    share: 0.2,
    stationsMax: 300,
    firstCode: 1,
    latitude: 43.65,
    longitude: -79.38,
    winter: 0.2,
    meanCelsius: 9,
    streets:
      'King St W,Queen St E,Bay St,Bloor St W,Spadina Ave,Bathurst St,Dundas St E,College St,Yonge St,Front St,Queens Quay,Simcoe St,Jarvis St,Sherbourne St,Parliament St,Wellesley St,Ossington Ave,Dufferin St'.split(
        ',',
      ),
    corner: ' / ',
  },
  washington: {
    share: 0.35,
    stationsMax: 450,
    firstCode: 10,
    latitude: 38.9,
    longitude: -77.03,
    winter: 0.35,
    meanCelsius: 14,
    streets:
      '1st St,3rd St,7th St,8th St,11th St,14th St,15th St,17th St,21st St,D St NW,F St SE,H St NE,K St NW,L St NW,M St SE,P St NW,Massachusetts Ave,New Jersey Ave SE,Rhode Island Ave,Pennsylvania Ave SE'.split(
        ',',
      ),
    corner: ' & ',
  },
};

/** The nine files, in no way dependent on each other: weather, then stations, then trips. */
export function syntheticFiles({ trips, seed }: SyntheticOptions): SyntheticFile[] {
  const share = (city: City): number => Math.round(characters[city].share * trips);
  // Rounding must not make or lose a trip.
  const counts: Record<City, number> = {
    montreal: share('montreal'),
    toronto: share('toronto'),
    washington: trips - share('montreal') - share('toronto'),
  };
  return topics.flatMap((topic) =>
    cities.map((city) => ({ city, topic, pieces: () => piecesOf(topic, city, counts[city], seed) })),
  );
}

function piecesOf(topic: Topic, city: City, trips: number, seed: number): Iterable<string> {
  const stream = 100 * cities.indexOf(city);
  const weather = makeWeather(city, new Random(seed, stream));
  if (topic === 'weather') return [weatherText(city, weather, new Random(seed, stream + 1))];
  const stations = makeStations(city, trips, new Random(seed, stream + 2));
  if (topic === 'stations') return [stationsText(city, stations, new Random(seed, stream + 3))];
  return tripsText(city, trips, weather, stations, new Random(seed, stream + 4));
}

function dateOf(day: number): string {
  return new Date(day * msPerDay).toISOString().slice(0, 10);
}

/** 0 in the middle of January, 1 in the middle of July. */
function warmth(day: number): number {
  return (1 - Math.cos((2 * Math.PI * (day - 15)) / 365.25)) / 2;
}

interface DayWeather {
  day: number;
  rainMm: number;
  celsius: number;
}

function makeWeather(city: City, random: Random): DayWeather[] {
  return Array.from({ length: endDay - firstDay }, (_, index) => {
    const day = firstDay + index;
    // Exponential, and of a mean that takes one wet day in thirty above 30 mm.
    const rainMm = random.chance(0.36) ? -9 * Math.log(1 - random.next()) : random.next() * 0.2;
    const celsius = characters[city].meanCelsius + 28 * (warmth(day) - 0.5) + 6 * random.bell();
    return { day, rainMm, celsius };
  });
}

const weatherColumns =
  'date,prectot,qv2m,rh2m,ps,t2m_range,ts,t2mdew,t2mwet,t2m_max,t2m_min,t2m,ws50m_range,ws10m_range,ws50m_min,ws10m_min,ws50m_max,ws10m_max,ws50m,ws10m';

function weatherText(city: City, weather: readonly DayWeather[], random: Random): string {
  const withYear = city === 'montreal';
  const rows = weather.map((each) => {
    const described = dateOf(each.day + 1);
    const prectot = random.chance(0.002) ? '-999.0' : decimal(each.rainMm);
    const others = [...temperatures(each, random), ...winds(random)].map(decimal);
    return [described, prectot, ...others, ...(withYear ? [described.slice(0, 4)] : [])].join(',');
  });
  return [weatherColumns + (withYear ? ',yearid' : ''), ...rows, ''].join('\n');
}

/** As in the data set: up to two decimals, at least one. */
function decimal(value: number): string {
  const rounded = Math.round(value * 100) / 100;
  return Number.isInteger(rounded) ? rounded.toFixed(1) : String(rounded);
}

/** From `qv2m` to `t2m`. */
function temperatures({ rainMm, celsius }: DayWeather, random: Random): number[] {
  const humidity = Math.min(100, 62 + 12 * random.bell() + rainMm);
  const dewPoint = celsius - (100 - humidity) / 5;
  const range = random.from(4, 14);
  const pressure = 100.4 + 1.2 * random.bell();
  return [
    3.8 * Math.exp(0.062 * dewPoint),
    humidity,
    pressure,
    range,
    celsius + random.bell(),
    dewPoint,
    dewPoint + 0.02,
    celsius + range / 2,
    celsius - range / 2,
    celsius,
  ];
}

/** From `ws50m_range` to `ws10m`. */
function winds(random: Random): number[] {
  const least = random.from(0.5, 4);
  const range = random.from(1, 8);
  const near = 0.72;
  return [
    range,
    range * near,
    least,
    least * near,
    least + range,
    (least + range) * near,
    least + range / 2,
    (least + range / 2) * near,
  ];
}

interface Station {
  name: string;
  /** By year, as in `years`; empty in a year in which it was not there. */
  codes: readonly string[];
  /** Kilometres east and north of the centre. */
  east: number;
  north: number;
  /** How many riders live, and how many work there; by year. */
  homes: readonly number[];
  jobs: readonly number[];
}

/** Small data has few stations, so that they have trips enough to speak of growth. */
function stationCount(city: City, trips: number): number {
  return Math.max(8, Math.min(characters[city].stationsMax, Math.round(Math.sqrt(trips))));
}

function makeStations(city: City, trips: number, random: Random): Station[] {
  const stations: Station[] = [];
  const total = stationCount(city, trips);
  for (let number = 0; number < total; number++) {
    const before = stations.at(-1);
    // A second code of a name that is there already; the real set has them too.
    const name = before !== undefined && number % 20 === 10 ? before.name : stationName(city, number, random);
    stations.push(makeStation(city, number, name, random));
  }
  return stations;
}

const kindOfName = ['', '', ', north side', ' (metro)', ' "Les Halles"', ' - SMART'];

function stationName(city: City, number: number, random: Random): string {
  const { streets, corner } = characters[city];
  // Two different streets, so that every number below their square has its own corner.
  const first = number % streets.length;
  const second = (first + 1 + (Math.floor(number / streets.length) % (streets.length - 1))) % streets.length;
  return `${streets[first]!}${corner}${streets[second]!}${number % 7 === 3 ? random.pick(kindOfName) : ''}`;
}

function makeStation(city: City, number: number, name: string, random: Random): Station {
  // One in fifteen, and two of the few stations of a small city.
  const isFar = number % 15 === 4 || number === 7;
  const angle = random.from(0, 2 * Math.PI);
  const km = isFar ? random.from(8, 11) : 4.5 * Math.sqrt(random.next()) * random.from(0.6, 1);
  const isNewIn2017 = number % 11 === 9;
  const isFashionable = number % 5 === 2;
  const changesCode = number % 8 === 5;
  const first = characters[city].firstCode + number;
  const codes = years.map((year) =>
    isNewIn2017 && year < 2017 ? '' : String(changesCode && year >= 2017 ? first + 4000 : first),
  );
  const size = (isFar ? 0.4 : 1) * Math.exp(1.2 * random.bell());
  const growth = years.map((year) => (isFashionable ? (year < 2017 ? 0.5 : 2) : 1));
  const isCentral = km < 2;
  return {
    name,
    codes,
    east: km * Math.cos(angle),
    north: km * Math.sin(angle),
    homes: growth.map((each) => each * size * (isCentral ? 0.6 : 1.4)),
    jobs: growth.map((each) => each * size * (isCentral ? 3 : 0.6)),
  };
}

const kmPerDegree = 111.2;

function stationsText(city: City, stations: readonly Station[], random: Random): string {
  const rows = years.flatMap((year, index) => {
    return stations
      .filter(({ codes }) => codes[index] !== '')
      .map((station) => [station.codes[index]!, quoted(station.name), ...coordinates(city, station, random), year].join(','));
  });
  return ['code,name,latitude,longitude,yearid', ...rows, ''].join('\n');
}

function quoted(name: string): string {
  return /[",]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
}

function coordinates(city: City, { east, north }: Station, random: Random): [string, string] {
  if (city !== 'montreal') return ['', ''];
  if (random.chance(0.01)) return ['-999.0', '-999.0'];
  const { latitude, longitude } = characters[city];
  const degreesEast = east / (kmPerDegree * Math.cos((latitude * Math.PI) / 180));
  return [(latitude + north / kmPerDegree).toFixed(6), (longitude + degreesEast).toFixed(6)];
}

/** Rows of a piece: about a quarter of a MiB. */
const pieceRows = 4096;
/** Of a day's trips on a wet day, what rain leaves: 40 % in heavy rain. */
const rainLeaves = (rainMm: number): number => Math.max(0.4, 1 - rainMm / 25);

function* tripsText(
  city: City,
  trips: number,
  weather: readonly DayWeather[],
  stations: readonly Station[],
  random: Random,
): Iterable<string> {
  const crowds = years.map((_, index) => makeCrowd(stations, index));
  const weights = weather.map((each) => dayWeight(city, each));
  const allWeights = weights.reduce((sum, weight) => sum + weight, 0);
  let text = 'start_date,start_station_code,end_date,end_station_code,duration_sec,is_member,yearid\n';
  let made = 0;
  let weightSoFar = 0;
  for (const [index, { day }] of weather.entries()) {
    weightSoFar += weights[index]!;
    const until = index === weather.length - 1 ? trips : Math.round((trips * weightSoFar) / allWeights);
    const today = makeToday(city, day, crowds);
    for (; made < until; made++) {
      text += tripText(today, random);
      if (made % pieceRows < pieceRows - 1) continue;
      yield text;
      text = '';
    }
  }
  yield text;
}

/** How many trips a day has, compared with others. */
function dayWeight(city: City, { day, rainMm, celsius }: DayWeather): number {
  const season = characters[city].winter + (1 - characters[city].winter) * warmth(day);
  const weekend = isWeekend(day) ? 0.8 : 1;
  const cold = celsius < 0 ? 0.7 : 1;
  const growth = 1 + (0.15 * (day - firstDay)) / 365;
  return season * weekend * cold * growth * rainLeaves(rainMm);
}

function isWeekend(day: number): boolean {
  // 1970-01-01 was a Thursday.
  const weekday = (day + 4) % 7;
  return weekday === 0 || weekday === 6;
}

/** Draws stations by weight: each is in the urn as often as its weight says. A table lookup per draw, whatever the number of stations. */
type Urn = Uint16Array;
const urnSize = 2 ** 14;

function makeUrn(weights: readonly number[]): Urn {
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  const urn = new Uint16Array(urnSize);
  let from = 0;
  let weightSoFar = 0;
  weights.forEach((weight, station) => {
    weightSoFar += weight;
    const to = Math.round((urnSize * weightSoFar) / all);
    urn.fill(station, from, to);
    from = to;
  });
  return urn;
}

/** The riders of a year. */
interface Crowd {
  stations: readonly Station[];
  codes: readonly string[];
  homes: Urn;
  jobs: Urn;
}

function makeCrowd(stations: readonly Station[], index: number): Crowd {
  const there = stations.filter(({ codes }) => codes[index] !== '');
  return {
    stations: there,
    codes: there.map(({ codes }) => codes[index]!),
    homes: makeUrn(there.map(({ homes }) => homes[index]!)),
    jobs: makeUrn(there.map(({ jobs }) => jobs[index]!)),
  };
}

interface Today {
  crowd: Crowd;
  date: string;
  tomorrow: string;
  year: string;
  weekend: boolean;
  /** Montreal's clock shows minutes only. */
  secondsPerTick: number;
}

function makeToday(city: City, day: number, crowds: readonly Crowd[]): Today {
  const date = dateOf(day);
  const year = date.slice(0, 4);
  const crowd = crowds[years.indexOf(Number(year))]!;
  return { crowd, date, tomorrow: dateOf(day + 1), year, weekend: isWeekend(day), secondsPerTick: city === 'montreal' ? 60 : 1 };
}

const secondsPerHour = 3600;
const secondsPerDay = 24 * secondsPerHour;
const metresPerSecond = 3.6;

function tripText({ crowd, date, tomorrow, year, weekend, secondsPerTick }: Today, random: Random): string {
  const hour = startHour(weekend, random);
  const toWork = hour < 12;
  const start = (toWork ? crowd.homes : crowd.jobs)[random.below(urnSize)]!;
  const end = endStation(crowd, toWork ? crowd.jobs : crowd.homes, start, random);
  const ticks = (seconds: number): number => Math.floor(seconds / secondsPerTick) * secondsPerTick;
  const startSecond = ticks(hour * secondsPerHour);
  const riding = (kmBetween(crowd.stations[start]!, crowd.stations[end]!) * 1300) / metresPerSecond;
  const seconds = Math.max(secondsPerTick, ticks(60 + riding * random.from(0.7, 1.5) + 900 * random.next() ** 4));
  const endSecond = startSecond + seconds;
  const endText = endSecond < secondsPerDay ? `${date} ${clock(endSecond)}` : `${tomorrow} ${clock(endSecond - secondsPerDay)}`;
  // A clock that was set back while somebody was riding.
  const shown = random.chance(0.0003) ? -seconds : seconds;
  // The workshop is no station.
  const startCode = random.chance(0.0004) ? '9999' : crowd.codes[start]!;
  return `${date} ${clock(startSecond)},${startCode},${endText},${crowd.codes[end]!},${shown}.0,${random.chance(weekend ? 0.7 : 0.88) ? 1 : 0},${year}\n`;
}

/** On working days around eight and half past five, on others in the afternoon; with fraction, 0 to 24. */
function startHour(weekend: boolean, random: Random): number {
  const peak = weekend ? 14 : random.chance(0.4) ? 8.2 : 17.5;
  const spread = weekend ? 9 : random.chance(0.6) ? 1.5 : 6.5;
  return Math.min(23.99, Math.max(0, peak + spread * random.bell()));
}

/** The nearer of two, mostly, and seldom where one has started. */
function endStation({ stations }: Crowd, urn: Urn, start: number, random: Random): number {
  const first = urn[random.below(urnSize)]!;
  const second = urn[random.below(urnSize)]!;
  if (first === start || random.chance(0.5)) return second;
  const from = stations[start]!;
  return kmBetween(from, stations[first]!) <= kmBetween(from, stations[second]!) ? first : second;
}

function kmBetween(a: Station, b: Station): number {
  return Math.hypot(a.east - b.east, a.north - b.north);
}

const twoDigits = Array.from({ length: 60 }, (_, value) => String(value).padStart(2, '0'));

function clock(second: number): string {
  const minute = Math.floor(second / 60);
  return `${twoDigits[Math.floor(minute / 60)]!}:${twoDigits[minute % 60]!}:${twoDigits[second % 60]!}`;
}
