/** Geometry of the lanes: paths of many arrows at once, and which arrow is near a point. */
import type { View } from './app.tsx';
import type { Arrow } from './tracks.ts';

/** Lower lanes cannot be read: with more instances than fit, the lanes scroll. */
export const laneMin = 9;
export const laneMax = 56;

/** The names of lanes, in pixels: in low ones as large as none is over the next. */
export const nameSize = (laneHeight: number): number => Math.min(11, laneHeight * 0.85);

/** Where positions and lanes are, in pixels. */
export interface Frame {
  readonly width: number;
  readonly height: number;
  /** The width of the names before the lanes, and the height of what is above them. */
  readonly gutter: number;
  readonly head: number;
  readonly laneHeight: number;
  readonly view: View;
  readonly x: (at: number) => number;
  readonly y: (lane: number) => number;
  readonly at: (x: number) => number;
}

/** What is at least in part in the view. */
export const inView = <T extends { readonly from: number; readonly to: number }>(spans: readonly T[], [from, to]: View): T[] =>
  spans.filter((span) => span.to >= from && span.from <= to);

interface Line {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

/** Where an arrow is, cut where it comes from before the lanes begin. One that ends where it starts leans a little, to be seen. */
function lineOf({ x, y, gutter }: Frame, { from, to }: Arrow): Line {
  const [x2, y1, y2] = [x(to.at), y(from.lane), y(to.lane)];
  const x1 = Math.min(x(from.at), x2 - (from.lane === to.lane ? 6 : 0));
  if (x1 >= gutter || x2 <= x1) return { x1: Math.max(x1, gutter - 2), y1, x2: Math.max(x2, gutter - 2), y2 };
  const share = Math.min(1, (gutter - x1) / (x2 - x1));
  return { x1: gutter, y1: y1 + (y2 - y1) * share, x2: Math.max(x2, gutter), y2 };
}

const round = (value: number): number => Math.round(value * 10) / 10;

export const lines = (frame: Frame, arrows: readonly Arrow[]): string =>
  arrows
    .map((arrow) => {
      const { x1, y1, x2, y2 } = lineOf(frame, arrow);
      return `M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}`;
    })
    .join('');

/** Two short strokes at the end of each. */
export const arrowHeads = (frame: Frame, arrows: readonly Arrow[]): string =>
  arrows
    .map((arrow) => {
      const { x1, y1, x2, y2 } = lineOf(frame, arrow);
      const angle = Math.atan2(y2 - y1, x2 - x1);
      const stroke = (turn: number): string =>
        `${round(x2 - 5 * Math.cos(angle + turn))} ${round(y2 - 5 * Math.sin(angle + turn))}`;
      return `M${stroke(0.45)}L${round(x2)} ${round(y2)}L${stroke(-0.45)}`;
    })
    .join('');

/** Pixels from which an arrow is meant. */
const nearPx = 7;

export function nearestArrow(frame: Frame, arrows: readonly Arrow[], x: number, y: number): Arrow | undefined {
  const [from, to] = [frame.at(x) - 1, frame.at(x) + 1];
  let nearest: { arrow: Arrow; distance: number } | undefined;
  for (const arrow of arrows) {
    if (Math.max(arrow.from.at, arrow.to.at) < from || Math.min(arrow.from.at, arrow.to.at) > to) continue;
    const { x1, y1, x2, y2 } = lineOf(frame, arrow);
    const length = (x2 - x1) ** 2 + (y2 - y1) ** 2 || 1;
    const share = Math.max(0, Math.min(1, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length));
    const distance = Math.hypot(x - x1 - share * (x2 - x1), y - y1 - share * (y2 - y1));
    if (distance < (nearest?.distance ?? nearPx)) nearest = { arrow, distance };
  }
  return nearest?.arrow;
}
