/** Stand-ins for the services of others: nothing leaves this machine, and the page says so. */
import { createHash } from 'node:crypto';
import type { Services } from './ports.ts';

/** Long enough to be seen as paid, short enough to be seen as shipped. */
const shipMs = 60_000;

export function standIns(nowMs: () => number): Services {
  return {
    maps: { picture: async (latitude, longitude) => mapPicture(latitude, longitude) },
    signIn: { identify: async (token) => `visitor-${createHash('sha256').update(token).digest('hex').slice(0, 24)}` },
    payment: { charge: async () => 'paid' },
    carrier: { hasShipped: async (paidAt) => nowMs() - paidAt.getTime() >= shipMs },
    notices: [
      'Maps are drawn here, from coordinates alone.',
      'Visiting without an account stands in for signing in with another service.',
      'Payment is a stand-in: no money moves.',
      `Parcels are a stand-in: an order counts as shipped ${shipMs / 1000} s after it was paid.`,
    ],
  };
}

const cell = 40;
/** Degrees of the country that the picture shows: mainland Portugal and some sea, larger for islands. */
const frame = { west: -10, east: -6, south: 36.8, north: 42.2 };

/** A grid of degrees with a dot: a place outside of the frame is drawn at its edge. */
function mapPicture(latitude: number, longitude: number): string {
  const width = Math.round((frame.east - frame.west) * cell);
  const height = Math.round((frame.north - frame.south) * cell);
  const clamp = (value: number, max: number): number => Math.min(Math.max(value, 6), max - 6);
  const x = clamp((longitude - frame.west) * cell, width).toFixed(1);
  const y = clamp((frame.north - latitude) * cell, height).toFixed(1);
  const lines = [
    ...Array.from({ length: 5 }, (_, index) => `M${index * cell} 0V${height}`),
    ...Array.from({ length: 6 }, (_, index) => `M0 ${(0.2 + index) * cell}H${width}`),
  ];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">` +
    `<rect width="100%" height="100%" fill="#eef3e6"/><path d="${lines.join('')}" stroke="#b9c8a4" fill="none"/>` +
    `<circle cx="${x}" cy="${y}" r="6" fill="#8a1c1c"/></svg>`
  );
}
