/** A point on Earth, in degrees. */
export interface Point {
  latitude: number;
  longitude: number;
}

/** Mean radius: the Earth as a sphere is off by at most 0.5 %. */
const earthRadiusKm = 6371;

/** Great-circle distance of two points in kilometres, by the haversine formula: exact also for neighbours, unlike the law of cosines. */
export function haversineKm(from: Point, to: Point): number {
  const latitude = Math.sin(radians(to.latitude - from.latitude) / 2);
  const longitude = Math.sin(radians(to.longitude - from.longitude) / 2);
  const chord = latitude ** 2 + Math.cos(radians(from.latitude)) * Math.cos(radians(to.latitude)) * longitude ** 2;
  // Rounding may take the chord of antipodes past 1, where the arcsine ends.
  return 2 * earthRadiusKm * Math.asin(Math.sqrt(Math.min(1, chord)));
}

function radians(degrees: number): number {
  return (degrees * Math.PI) / 180;
}
