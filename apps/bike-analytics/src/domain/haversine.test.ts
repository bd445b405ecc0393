import { expect, test } from 'vitest';
import { haversineKm } from './haversine.ts';

const halfRoundKm = Math.PI * 6371;

test('distances on great circles are parts of the way round the Earth', () => {
  expect(haversineKm({ latitude: 45.5, longitude: -73.6 }, { latitude: 45.5, longitude: -73.6 })).toBe(0);
  expect(haversineKm({ latitude: 0, longitude: 0 }, { latitude: 0, longitude: 90 })).toBeCloseTo(halfRoundKm / 2, 9);
  expect(haversineKm({ latitude: -30, longitude: 20 }, { latitude: 60, longitude: 20 })).toBeCloseTo(halfRoundKm / 2, 9);
  // At 60 degrees north the chord of a degree of longitude is half of that at the equator.
  expect(haversineKm({ latitude: 60, longitude: 10 }, { latitude: 60, longitude: 11 })).toBeCloseTo(
    2 * 6371 * Math.asin(Math.sin(Math.PI / 360) / 2),
    9,
  );
});

test('antipodes are half the way round apart, whatever the rounding', () => {
  for (let latitude = -90; latitude <= 90; latitude += 0.7) {
    const km = haversineKm({ latitude, longitude: 33.3 }, { latitude: -latitude, longitude: 33.3 - 180 });
    expect(km / halfRoundKm).toBeCloseTo(1, 6);
  }
});

test('the way back is as long, and neighbours a metre apart are a metre apart', () => {
  const here = { latitude: 45.50884, longitude: -73.58781 };
  const there = { latitude: 45.50884 + 1 / 111_194.926_64, longitude: -73.58781 };
  expect(haversineKm(here, there)).toBeCloseTo(0.001, 9);
  expect(haversineKm(there, here)).toBe(haversineKm(here, there));
});
