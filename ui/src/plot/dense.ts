/** Plots with so many points that the canvas would take several frames to stroke their lines. */

import type uPlot from "uplot";
import type { ChartData } from "./Chart";
import type { Palette } from "./palette";
import { type Projection, type Raster, strokeLine } from "./raster";

/** The canvas strokes this many in about 10 ms. */
const MOST_STROKED_POINTS = 10_000;

/** Whether the lines are drawn as pixels; those with dashes, bands or a scale of their own are few. */
export function isDense({ times, lines, bands }: ChartData): boolean {
  const isPlain = lines.every(({ dash, hasMarkers, scale }) => !dash && !hasMarkers && scale !== "score");
  return bands.length === 0 && isPlain && lines.length * times.length > MOST_STROKED_POINTS;
}

export interface DenseLines {
  /** Return the lowest and the highest value between two indexes; nulls where there is none. */
  extent(first: number, last: number): [number | null, number | null];
  draw(view: uPlot): void;
}

export function denseLines(data: ChartData, palette: Palette, drawnAt: number): DenseLines {
  const times = Float64Array.from(data.times);
  const lines = data.lines.map((line) => ({
    values: Float64Array.from(line.values, (value) => value ?? NaN),
    color: rgb(line.color(palette)),
    width: (line.width ?? 1.5) * drawnAt,
  }));
  const all = layer();
  const focused = layer();
  let drawn = "";

  return {
    extent(first, last) {
      let [low, high] = [Infinity, -Infinity];
      for (const { values } of lines) {
        for (let at = first; at <= last; at += 1) {
          const value = values[at]!;
          if (value < low) low = value;
          if (value > high) high = value;
        }
      }
      return low <= high ? [low, high] : [null, null];
    },
    draw(view) {
      const { left, top } = view.bbox;
      // Where the page is scaled, these need not be whole.
      const width = Math.ceil(view.bbox.width);
      const height = Math.ceil(view.bbox.height);
      if (width < 1 || height < 1) return;
      const [first = 0, last = times.length - 1] = view.series[0]!.idxs ?? [];
      // Lines lead to the points next to those in view.
      const shown = [Math.max(0, first - 1), Math.min(times.length - 1, last + 1)] as const;
      const projection = projectionOf(view);
      const stroke = (raster: Raster, { values, color, width: lineWidth }: (typeof lines)[number]): void =>
        strokeLine(raster, times, values, shown, projection, {
          color,
          width: Math.max(1, lineWidth * devicePixelRatio),
        });
      // Where only another line is to stand out, the others are as they were.
      const wanted = JSON.stringify([width, height, projection]);
      if (wanted !== drawn) {
        all.paint(width, height, (raster) => lines.forEach((line) => stroke(raster, line)));
        drawn = wanted;
      }
      const opacities = lines.map((_, index) => view.series[index + 1]!.alpha ?? 1);
      const lowest = Math.min(...opacities);
      view.ctx.globalAlpha = lowest;
      view.ctx.drawImage(all.canvas, left, top);
      view.ctx.globalAlpha = 1;
      if (lowest === 1) return;
      focused.paint(width, height, (raster) =>
        lines.forEach((line, index) => {
          if (opacities[index] === 1) stroke(raster, line);
        }),
      );
      view.ctx.drawImage(focused.canvas, left, top);
    },
  };
}

interface Layer {
  readonly canvas: HTMLCanvasElement;
  paint(width: number, height: number, draw: (raster: Raster) => void): void;
}

function layer(): Layer {
  const canvas = document.createElement("canvas");
  let image: ImageData | null = null;
  return {
    canvas,
    paint(width, height, draw) {
      if (image === null || image.width !== width || image.height !== height) {
        canvas.width = width;
        canvas.height = height;
        image = new ImageData(width, height);
      } else {
        image.data.fill(0);
      }
      draw({ width, height, pixels: new Uint32Array(image.data.buffer) });
      canvas.getContext("2d")!.putImageData(image, 0, 0);
    },
  };
}

function projectionOf(view: uPlot): Projection {
  const { width, height } = view.bbox;
  const x = view.scales.x!;
  const y = view.scales.y!;
  const perTime = width / (x.max! - x.min!);
  const perValue = -height / (y.max! - y.min!);
  return { perTime, xOffset: -x.min! * perTime, perValue, yOffset: -y.max! * perValue };
}

/** Return the red, green and blue that a color of the style sheet has. */
function rgb(color: string): [number, number, number] {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  const [red = 0, green = 0, blue = 0] = context.getImageData(0, 0, 1, 1).data;
  return [red, green, blue];
}
