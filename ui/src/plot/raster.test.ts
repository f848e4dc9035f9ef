import { expect, test } from "vitest";
import { type Projection, type Raster, strokeLine } from "./raster";

const AS_IS: Projection = { xOffset: 0, perTime: 1, yOffset: 0, perValue: 1 };
const RED = [255, 0, 0] as const;

function emptyRaster(width: number, height: number): Raster & { readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(width * height * 4);
  return { width, height, bytes, pixels: new Uint32Array(bytes.buffer) };
}

function drawn(points: readonly (readonly [number, number])[], width: number, height: number, lineWidth = 1.5): number[] {
  const raster = emptyRaster(width, height);
  const [times, values] = [0, 1].map((side) => Float64Array.from(points, (point) => point[side]!));
  const stroke = { color: RED, width: lineWidth };
  strokeLine(raster, times!, values!, [0, points.length - 1], AS_IS, stroke);
  return Array.from({ length: width * height }, (_, at) => raster.bytes[at * 4 + 3]! / 255);
}

/** Return how much of each pixel is within half a width of the line, at 8 × 8 places. */
function covered(points: readonly (readonly [number, number])[], width: number, height: number, lineWidth = 1.5): number[] {
  const isNear = (x: number, y: number): boolean =>
    points.slice(1).some(([x1, y1], index) => {
      const [x0, y0] = points[index]!;
      const [dx, dy] = [x1 - x0, y1 - y0];
      const along = Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)));
      return Math.hypot(x - x0 - along * dx, y - y0 - along * dy) <= lineWidth / 2;
    });
  return Array.from({ length: width * height }, (_, at) => {
    const [column, row] = [at % width, Math.floor(at / width)];
    let hits = 0;
    for (let i = 0; i < 64; i += 1) {
      if (isNear(column + ((i % 8) + 0.5) / 8, row + (Math.floor(i / 8) + 0.5) / 8)) hits += 1;
    }
    return hits / 64;
  });
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

test.each([0, 0.3, 1, 4, -2.5])("a straight line of slope %d covers what its outline does", (slope) => {
  const start = slope < 0 ? 110 : 10;
  const points = [[-5, start - 5 * slope], [30, start + 30 * slope]] as const;
  const [ours, wanted] = [drawn(points, 24, 120), covered(points, 24, 120)];
  expect(Math.abs(sum(ours) / sum(wanted) - 1)).toBeLessThan(0.02);
  const apart = ours.map((value, at) => Math.abs(value - wanted[at]!));
  expect(sum(apart) / sum(wanted)).toBeLessThan(0.12);
});

test("a bent line covers nearly what its outline does", () => {
  const points = Array.from({ length: 12 }, (_, i) => [i * 4.3, 30 + 22 * Math.sin(i * 1.7)] as const);
  const [ours, wanted] = [drawn(points, 48, 60), covered(points, 48, 60)];
  const apart = ours.map((value, at) => Math.abs(value - wanted[at]!));
  expect(sum(apart) / sum(wanted)).toBeLessThan(0.2);
});

test("of many points in a column, the lowest and the highest show", () => {
  const points = Array.from({ length: 4000 }, (_, i) => [i / 100, 50 + 20 * Math.sin(i)] as const);
  points[1234] = [12.34, 5];
  const pixels = drawn(points, 40, 100);
  const column = (x: number): number[] => Array.from({ length: 100 }, (_, row) => pixels[row * 40 + x]!);
  expect(column(12).findIndex((value) => value > 0.5)).toBe(4);
  for (const x of [0, 13, 39]) {
    expect(column(x).findIndex((value) => value > 0.5)).toBeGreaterThanOrEqual(29);
    expect(column(x).slice(31, 69).every((value) => value === 1)).toBe(true);
  }
});

test("gaps stay empty, and what is out of view does not show", () => {
  const pixels = drawn([[2, 5], [8, 5], [9, NaN], [14, 5], [18, 5]], 20, 10);
  const row = pixels.slice(5 * 20, 6 * 20).map((value) => value > 0.5);
  expect(row.map(Number).join("")).toBe("00111111100000111110");
  expect(sum(drawn([[-9, 5], [-2, 5]], 20, 10))).toBe(0);
  expect(sum(drawn([[25, 5], [30, 5]], 20, 10))).toBe(0);
  expect(sum(drawn([[2, -50], [18, -40]], 20, 10))).toBe(0);
});

test("a line over another one hides it as far as it covers the pixel", () => {
  const raster = emptyRaster(1, 3);
  const line = (color: readonly [number, number, number], y: number): void =>
    strokeLine(raster, Float64Array.of(-1, 2), Float64Array.of(y, y), [0, 1], AS_IS, { color, width: 1 });
  // Half of the pixel in the middle, and half of the one below.
  line([0, 0, 200], 2);
  expect([...raster.bytes.slice(4, 8)]).toEqual([0, 0, 200, 128]);
  line([200, 0, 0], 2);
  // Half of red, and half of the half of blue that shows through.
  const wanted = [133, 0, 67, 191];
  wanted.forEach((value, at) => expect(Math.abs(raster.bytes[4 + at]! - value)).toBeLessThanOrEqual(1));
  line([1, 2, 3], 1.5);
  expect([...raster.bytes.slice(4, 8)]).toEqual([1, 2, 3, 255]);
});
