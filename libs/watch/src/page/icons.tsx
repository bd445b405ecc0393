/** The pictures on buttons, and the shapes of the map and the lanes. */
import type { VNode } from 'preact';

const paths = {
  start: 'M2 2h1.6v10H2zM12 2v10L5 7z',
  back: 'M10.5 2v10L3 7z',
  play: 'M4 2v10l8-5z',
  pause: 'M3.5 2.5h2.4v9H3.5zM8.1 2.5h2.4v9H8.1z',
  step: 'M3.5 2v10L11 7z',
  flag: 'M3 1h1.4v12H3zM5 1.6h7L9.6 4.3 12 7H5z',
  minus: 'M2 6.2h10v1.6H2z',
  plus: 'M2 6.2h4.2V2h1.6v4.2H12v1.6H7.8V12H6.2V7.8H2z',
  close: 'M3 4l1-1 3 3 3-3 1 1-3 3 3 3-1 1-3-3-3 3-1-1 3-3z',
  theme: 'M7 1a6 6 0 1 0 0 12zM7 1.6a5.4 5.4 0 0 1 0 10.8V13A6 6 0 0 0 7 1z',
} as const;

export const Icon = ({ name }: { name: keyof typeof paths }): VNode => (
  <svg viewBox="0 0 14 14" aria-hidden="true">
    <path d={paths[name]} />
  </svg>
);

/** A crown, so wide, at a place. */
export const crownPath = (x: number, y: number): string => `M${x} ${y}l2.4 2.3 2.1-3.6 2.1 3.6 2.4-2.3-.9 5.2h-7.2z`;

/** What a row of a story is about. */
export const shapes = {
  data: <circle cx="6" cy="6" r="3.8" class="f-data" />,
  note: <path d="M6 1.5L10.5 6L6 10.5L1.5 6Z" class="f-note" />,
  fault: <path d="M2.5 2.5l7 7m0-7l-7 7" class="s-fault" />,
  plain: <circle cx="6" cy="6" r="3.2" class="s-plain" />,
};
