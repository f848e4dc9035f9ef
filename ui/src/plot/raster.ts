/**
 * Lines in pixels. A canvas strokes each segment by itself, which takes 1 µs; in a plot of many lines
 * that are denser than its pixels, nearly all of that is for what other segments cover.
 */

/** Pixels of red, green, blue and opacity, a byte each, from the lowest byte of each number on. */
export interface Raster {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint32Array;
}

/** Where points are in a raster: `x = xOffset + time * perTime`, and the same for y. */
export interface Projection {
  readonly xOffset: number;
  readonly perTime: number;
  readonly yOffset: number;
  readonly perValue: number;
}

export interface Stroke {
  readonly color: readonly [number, number, number];
  /** In pixels, at least 1. */
  readonly width: number;
}

/** Which ways a line leads through a column of pixels: a bit each. */
const NOWHERE = 0;
const UP = 1;
const DOWN = 2;

/** What a line covers of each column, from where to where. */
interface Columns {
  readonly tops: Float64Array;
  readonly bottoms: Float64Array;
  readonly ways: Uint8Array;
}

/**
 * Draw a line over what is there already.
 *
 * `times` ascend, `values` are NaN in gaps; `first` and `last` are the indexes to draw. A value between
 * two gaps is no line.
 */
export function strokeLine(
  raster: Raster,
  times: Float64Array,
  values: Float64Array,
  [first, last]: readonly [number, number],
  projection: Projection,
  stroke: Stroke,
): void {
  const columns = columnsFor(raster.width);
  cross(columns, raster.width, times, values, first, last, projection);
  for (let x = 0; x < raster.width; x += 1) {
    if (columns.ways[x] !== NOWHERE) paintColumn(raster, columns, x, stroke);
  }
}

let scratch: Columns | null = null;

function columnsFor(width: number): Columns {
  if (scratch === null || scratch.ways.length < width) {
    scratch = {
      tops: new Float64Array(width),
      bottoms: new Float64Array(width),
      ways: new Uint8Array(width),
    };
  }
  scratch.ways.fill(NOWHERE);
  return scratch;
}

function cross(
  { tops, bottoms, ways }: Columns,
  width: number,
  times: Float64Array,
  values: Float64Array,
  first: number,
  last: number,
  { xOffset, perTime, yOffset, perValue }: Projection,
): void {
  const extend = (column: number, from: number, to: number): void => {
    const top = from < to ? from : to;
    const bottom = from < to ? to : from;
    const way = from < to ? DOWN : UP;
    if (ways[column] === NOWHERE) {
      tops[column] = top;
      bottoms[column] = bottom;
    } else {
      if (top < tops[column]!) tops[column] = top;
      if (bottom > bottoms[column]!) bottoms[column] = bottom;
    }
    ways[column] = ways[column]! | way;
  };
  let xBefore = NaN;
  let yBefore = NaN;
  for (let index = first; index <= last; index += 1) {
    const x = xOffset + times[index]! * perTime;
    const y = yOffset + values[index]! * perValue;
    // Without a value before or here there is no line, as NaN differs from itself.
    if (y === y && yBefore === yBefore && x >= 0 && xBefore < width) {
      const from = Math.floor(xBefore);
      const to = Math.floor(x);
      if (from === to) {
        extend(from, yBefore, y);
      } else {
        const slope = (y - yBefore) / (x - xBefore);
        const end = to < width ? to : width - 1;
        for (let column = from > 0 ? from : 0; column <= end; column += 1) {
          const left = column === from ? yBefore : yBefore + slope * (column - xBefore);
          const right = column === to ? y : yBefore + slope * (column + 1 - xBefore);
          extend(column, left, right);
        }
      }
    }
    xBefore = x;
    yBefore = y;
  }
}

/** Fill the part of a column that a line covers, with soft ends. */
function paintColumn({ width, height, pixels }: Raster, columns: Columns, x: number, stroke: Stroke): void {
  const top = columns.tops[x]!;
  const bottom = columns.bottoms[x]!;
  const rise = bottom - top;
  const isTurning = columns.ways[x] === (UP | DOWN);
  // A line that rises enters and leaves pixels over its rise; where it turns, its ends are flat.
  const soft = isTurning ? 1 : Math.max(1, rise);
  const thick = isTurning ? rise + stroke.width : stroke.width * Math.sqrt(1 + rise * rise);
  const middle = (top + bottom) / 2;
  const reach = (thick + soft) / 2;
  const [red, green, blue] = stroke.color;
  const opaque = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const end = Math.min(height, Math.ceil(middle + reach));
  const start = Math.max(0, Math.floor(middle - reach));
  for (let row = start, at = start * width + x; row < end; row += 1, at += width) {
    const covered = (reach - Math.abs(row + 0.5 - middle)) / soft;
    if (covered >= 1) pixels[at] = opaque;
    else if (covered > 0) pixels[at] = blended(pixels[at]!, opaque, covered);
  }
}

/** Return a pixel with a color over it that covers a part of it. */
function blended(below: number, color: number, covered: number): number {
  const opacity = below >>> 24;
  if (opacity === 0) return (((covered * 255 + 0.5) << 24) | (color & 0xffffff)) >>> 0;
  const under = (opacity / 255) * (1 - covered);
  const whole = covered + under;
  const ours = covered / whole;
  const theirs = 1 - ours;
  const red = (color & 255) * ours + (below & 255) * theirs + 0.5;
  const green = ((color >>> 8) & 255) * ours + ((below >>> 8) & 255) * theirs + 0.5;
  const blue = ((color >>> 16) & 255) * ours + ((below >>> 16) & 255) * theirs + 0.5;
  return (((whole * 255 + 0.5) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
