import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { Icon } from "../components/Icon";
import { formatTicks } from "../components/format";
import { prefer, preferences } from "../state/preferences";
import type { AbsoluteRange } from "../time/range";
import { zone } from "../state/page";
import { scale } from "../state/scale";
import { effectiveTheme } from "../state/theme";
import { type DenseLines, denseLines, isDense } from "./dense";
import { type Palette, readPalette } from "./palette";
import { type Run, shortRuns } from "./runs";
import { inUnit, unitOf } from "./units";

export interface Line {
  readonly id: string;
  readonly title: string;
  readonly color: (palette: Palette) => string;
  readonly values: readonly (number | null)[];
  readonly isShown: boolean;
  readonly width?: number;
  readonly dash?: readonly number[];
  readonly scale?: "y" | "score";
  /** Draw diamonds at the values, which stand out by shape too. */
  readonly hasMarkers?: boolean;
  readonly hasNoLine?: boolean;
}

export interface Band {
  readonly upper: string;
  readonly lower: string;
  readonly fill: (palette: Palette) => string;
}

export interface ChartData {
  /** Unix seconds, ascending. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly bands: readonly Band[];
  /** Whether the line next to the pointer stands out. */
  readonly fadesOthers: boolean;
}

/** A point under the pointer. */
export interface Spot {
  readonly index: number;
  /** The line next to the pointer; null when none is near. */
  readonly line: string | null;
}

interface Props {
  data: ChartData;
  range: AbsoluteRange;
  label: string;
  /** A height of its own, for a small one; else the one that people have chosen. */
  fixedHeight?: number;
  tooltip: (spot: Spot) => ComponentChildren;
  /** Called once, when a gesture ends. */
  onRange: (range: AbsoluteRange) => void;
  onReset: () => void;
}

/** A tooltip next to the pointer needs as much. */
const NARROW_PX = 500;
/** A line of so few points and pixels is hard to see; a dot is not. */
const SHORT_RUN = 8;
const SHORT_PX = 4;
const WHEEL_PAUSE_MS = 350;
const LOWEST_PX = 160;
const HIGHEST_PX = 1200;
const USUAL_PX = 380;
/** Of the window, where that is more. */
const USUAL_SHARE = 0.36;

interface Place extends Spot {
  readonly left: number;
  readonly top: number;
  readonly isPinned: boolean;
}

/** A plot over time that can be zoomed and moved. */
export function Chart({ data, range, label, fixedHeight, tooltip, onRange, onReset }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const gestures = useRef({ onRange, onReset });
  gestures.current = { onRange, onReset };
  const [place, setPlace] = useState<Place | null>(null);
  const drawnAt = scale.value;
  const chosenHeight = preferences.value.plotHeight ?? usualHeight(drawnAt);
  const height = Math.round((fixedHeight ?? chosenHeight) * drawnAt);
  const theme = effectiveTheme.value;
  const zoneName = zone.value;

  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const palette = readPalette(drawnAt);
    const units = unitsOf(data);
    const drawn = inUnits(data, units);
    const view = new uPlot(
      options(drawn, units, palette, range, zoneName, drawnAt, element.clientWidth, plotHeight(frame.current, height)),
      aligned(drawn),
      element,
    );
    plot.current = view;
    const follow = followPointer(view, data, setPlace);
    const stop = handleGestures(view, range, gestures);
    const observer = new ResizeObserver(() => {
      view.setSize({ width: element.clientWidth, height: plotHeight(frame.current, height) });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      stop();
      follow();
      view.destroy();
      plot.current = null;
      setPlace(null);
    };
  }, [data, range.from, range.to, height, drawnAt, theme, zoneName]);

  return (
    <div class="chart" ref={frame}>
      <div ref={host} class="chart-canvas" role="img" aria-label={label} />
      {place !== null && (
        <div
          class={`tooltip ${place.isPinned ? "pinned" : ""}`}
          style={tooltipStyle(place, host.current)}
          role={place.isPinned ? "dialog" : undefined}
          aria-label={place.isPinned ? "Values at this time" : undefined}
        >
          {place.isPinned && (
            <button
              type="button"
              class="button quiet icon-only tooltip-close"
              aria-label="Close"
              onClick={() => setPlace(null)}
            >
              <Icon name="close" />
            </button>
          )}
          {tooltip(place)}
        </div>
      )}
      {fixedHeight === undefined && <Grip height={chosenHeight} />}
      <button
        type="button"
        class="button quiet icon-only full-screen"
        aria-label="Full screen"
        title="Full screen"
        onClick={() => void toggleFullScreen(frame.current)}
      >
        <Icon name="expand" />
      </button>
    </div>
  );
}

function usualHeight(drawnAt: number): number {
  return Math.round(Math.max(USUAL_PX, (USUAL_SHARE * window.innerHeight) / drawnAt));
}

/** The lower border, which changes the height. */
function Grip({ height }: { height: number }) {
  const change = (to: number): void =>
    prefer({ plotHeight: Math.round(Math.min(HIGHEST_PX, Math.max(LOWEST_PX, to))) });
  return (
    <div
      class="grip"
      role="separator"
      tabIndex={0}
      aria-orientation="horizontal"
      aria-label="Height of the plot"
      aria-valuenow={height}
      aria-valuemin={LOWEST_PX}
      aria-valuemax={HIGHEST_PX}
      onKeyDown={(event) => {
        const by = { ArrowDown: 20, ArrowUp: -20 }[event.key];
        if (by === undefined) return;
        event.preventDefault();
        change(height + by);
      }}
      onPointerDown={(event) => {
        const start = event.clientY;
        const element = event.currentTarget;
        element.setPointerCapture(event.pointerId);
        const move = (moved: PointerEvent): void => change(height + (moved.clientY - start) / scale.value);
        element.addEventListener("pointermove", move);
        element.addEventListener("pointerup", () => element.removeEventListener("pointermove", move), {
          once: true,
        });
      }}
    />
  );
}

async function toggleFullScreen(element: HTMLElement | null): Promise<void> {
  if (document.fullscreenElement !== null) await document.exitFullscreen();
  else await element?.requestFullscreen();
}

function plotHeight(frame: HTMLElement | null, height: number): number {
  return document.fullscreenElement === frame && frame !== null ? window.innerHeight - 24 : height;
}

interface Units {
  readonly y: number;
  readonly score: number;
}

function unitsOf({ lines }: ChartData): Units {
  return {
    y: unitOf(lines.filter(({ scale }) => scale !== "score")),
    score: unitOf(lines.filter(({ scale }) => scale === "score")),
  };
}

function inUnits(data: ChartData, units: Units): ChartData {
  return {
    ...data,
    lines: data.lines.map((line) => ({ ...line, values: inUnit(line.values, units[line.scale ?? "y"]) })),
  };
}

function aligned(data: ChartData): uPlot.AlignedData {
  return [data.times as number[], ...data.lines.map(({ values }) => values as (number | null)[])];
}

function options(
  data: ChartData,
  units: Units,
  palette: Palette,
  range: AbsoluteRange,
  zoneName: string,
  drawnAt: number,
  width: number,
  height: number,
): uPlot.Options {
  const dense = isDense(data) ? denseLines(data, palette, drawnAt) : null;
  const position = new Map(data.lines.map(({ id }, index) => [id, index + 1]));
  const hasScore = data.lines.some(({ scale, isShown }) => scale === "score" && isShown);
  const axis = {
    stroke: palette.text,
    font: palette.font,
    grid: { stroke: palette.grid, width: 1 },
    ticks: { stroke: palette.grid, width: 1, size: 5 * drawnAt },
    gap: 5 * drawnAt,
  };
  const numbers = (unit: number) => ({
    ...axis,
    size: (_plot: uPlot, values: string[] | null) =>
      Math.round((18 + 6.6 * Math.max(4, ...(values ?? []).map((text) => text.length))) * drawnAt),
    space: 30 * drawnAt,
    values: (_plot: uPlot, splits: number[]) => formatTicks(splits.map((value) => value * unit)),
  });
  return {
    width,
    height,
    padding: [Math.round(12 * drawnAt), Math.round(24 * drawnAt), 0, 0],
    legend: { show: false },
    tzDate: (seconds) => inZone(seconds, zoneName),
    cursor: {
      drag: { x: true, y: false, setScale: false },
      focus: { prox: 24 },
      points: { size: 7 * drawnAt, width: 2 },
    },
    focus: { alpha: data.fadesOthers ? 0.25 : 1 },
    scales: {
      x: { time: true, range: () => [range.from / 1000, range.to / 1000] },
      y: { range: (view, low, high) => (dense === null ? padded(low, high) : padded(...extentInView(view, dense))) },
      score: { range: (_plot, _low, high) => [0, Math.max(2, (high ?? 1) * 1.1)] },
    },
    axes: [
      { ...axis, values: timeLabels(zoneName), size: Math.round(50 * drawnAt), space: 50 * drawnAt },
      numbers(units.y),
      ...(hasScore ? [{ ...numbers(units.score), scale: "score", side: 1 as const, grid: { show: false } }] : []),
    ],
    series: [{}, ...data.lines.map((line) => seriesOptions(line, palette, drawnAt, dense !== null))],
    bands: data.bands.flatMap(({ upper, lower, fill }) => {
      const pair = [position.get(upper), position.get(lower)];
      if (pair[0] === undefined || pair[1] === undefined) return [];
      return [{ series: [pair[0], pair[1]] as [number, number], fill: fill(palette) }];
    }),
    hooks: { draw: [(view) => dense?.draw(view), (view) => drawMarkers(view, data, palette)] },
  };
}

function extentInView(view: uPlot, dense: DenseLines): [number | null, number | null] {
  const [first, last] = view.series[0]!.idxs ?? [0, view.data[0].length - 1];
  return dense.extent(first, last);
}

function seriesOptions(line: Line, palette: Palette, drawnAt: number, isDense: boolean): uPlot.Series {
  const options: uPlot.Series = {
    label: line.title,
    stroke: line.color(palette),
    width: (line.width ?? 1.5) * drawnAt,
    show: line.isShown,
    scale: line.scale ?? "y",
    // Between pixels too, or gentle slopes become stairs.
    pxAlign: 0,
    points: line.hasMarkers
      ? { show: false }
      : { size: 4 * drawnAt, fill: line.color(palette), filter: dotsOf(line.values, drawnAt) },
  };
  if (line.dash !== undefined) options.dash = [...line.dash];
  if (line.hasNoLine || isDense) options.paths = () => null;
  // What is drawn as pixels has its range from there too.
  if (isDense) options.auto = false;
  return options;
}

/** Return what finds the values in view that no line can be seen of, such as those without neighbors. */
function dotsOf(values: Line["values"], drawnAt: number): uPlot.Series.Points.Filter {
  let runs: readonly Run[] | null = null;
  return (view, _index, isShown) => {
    if (isShown) return null;
    runs ??= shortRuns(values, SHORT_RUN);
    const [times, { min, max }] = [view.data[0], view.scales.x!];
    const [first, last] = view.series[0]!.idxs ?? [0, values.length - 1];
    const shortest = (SHORT_PX * drawnAt * (max! - min!)) / (view.over.clientWidth || 1);
    const found = runs.filter(
      ([start, end]) => start >= first && start <= last && times[end]! - times[start]! < shortest,
    );
    return found.length > 0 ? found.map(([start]) => start) : null;
  };
}

function padded(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  if (low === high) {
    const around = Math.abs(low) * 0.1 || 1;
    return [low - around, high + around];
  }
  const around = (high - low) * 0.06;
  return [low >= 0 && low - around < 0 ? 0 : low - around, high + around];
}

function timeLabels(zoneName: string): uPlot.Axis.DynamicValues {
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = (date: Date): string => `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return (_view, splits, _axis, _space, increment) => {
    let before = "";
    return splits.map((seconds) => {
      const date = inZone(seconds, zoneName);
      const today = day(date);
      const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
      const time = increment < 60 ? `${clock}:${two(date.getSeconds())}` : clock;
      const text = increment >= 86_400 ? `${date.getFullYear()}-${today}` : time;
      const isNewDay = increment < 86_400 && today !== before;
      before = today;
      return isNewDay ? `${text}\n${today}` : text;
    });
  };
}

/** Return a date whose fields are those of the clocks of a zone. */
function inZone(seconds: number, zoneName: string): Date {
  const date = new Date(seconds * 1000);
  return zoneName === "" ? date : uPlot.tzDate(date, zoneName);
}

function drawMarkers(view: uPlot, data: ChartData, palette: Palette): void {
  const { ctx } = view;
  const size = 4.5 * devicePixelRatio * scale.peek();
  data.lines.forEach((line, index) => {
    if (!line.hasMarkers || view.series[index + 1]?.show !== true) return;
    ctx.save();
    ctx.beginPath();
    ctx.rect(view.bbox.left, view.bbox.top, view.bbox.width, view.bbox.height);
    ctx.clip();
    ctx.fillStyle = line.color(palette);
    const [first, last] = view.series[0]!.idxs ?? [0, data.times.length - 1];
    for (let at = first; at <= last; at += 1) {
      const value = line.values[at];
      if (value === null || value === undefined) continue;
      const x = view.valToPos(data.times[at]!, "x", true);
      const y = view.valToPos(value, line.scale ?? "y", true);
      ctx.beginPath();
      ctx.moveTo(x, y - size);
      ctx.lineTo(x + size, y);
      ctx.lineTo(x, y + size);
      ctx.lineTo(x - size, y);
      ctx.closePath();
      ctx.fill();
    }
    ctx.restore();
  });
}

function followPointer(view: uPlot, data: ChartData, show: (place: (before: Place | null) => Place | null) => void): () => void {
  let line: string | null = null;
  const at = (isPinned: boolean): Place | null => {
    const { idx, left = -1, top = -1 } = view.cursor;
    if (idx === null || idx === undefined || left < 0) return null;
    const { offsetLeft, offsetTop } = view.over;
    return { index: idx, line, left: left + offsetLeft, top: top + offsetTop, isPinned };
  };
  const move = (): void => show((before) => (before?.isPinned ? before : at(false)));
  const pin = (): void => show((before) => (before?.isPinned ? null : at(true)));
  const hooks = view.hooks as Record<string, ((...args: never[]) => void)[]>;
  (hooks.setCursor ??= []).push(move);
  (hooks.setSeries ??= []).push(((_view: uPlot, index: number | null) => {
    line = index === null || index === undefined ? null : (data.lines[index - 1]?.id ?? null);
  }) as (...args: never[]) => void);
  const escape = (event: KeyboardEvent): void => {
    if (event.key === "Escape") show(() => null);
  };
  let pressedAt = 0;
  const press = (event: PointerEvent): void => {
    pressedAt = event.clientX;
  };
  const click = (event: MouseEvent): void => {
    if (Math.abs(event.clientX - pressedAt) < 4 && !event.shiftKey) pin();
  };
  view.over.addEventListener("pointerdown", press);
  view.over.addEventListener("click", click);
  document.addEventListener("keydown", escape);
  return () => {
    view.over.removeEventListener("pointerdown", press);
    view.over.removeEventListener("click", click);
    document.removeEventListener("keydown", escape);
  };
}

function tooltipStyle(place: Place, host: HTMLElement | null): Record<string, string> {
  const width = host?.clientWidth ?? 0;
  const top = `${place.top + 12}px`;
  // Without room at either side it is below the pointer.
  if (width < NARROW_PX * scale.peek()) return { top, left: "0", right: "0", width: "fit-content", margin: "0 auto" };
  const isRight = place.left > width / 2;
  return {
    top,
    ...(isRight ? { right: `${width - place.left + 14}px` } : { left: `${place.left + 14}px` }),
  };
}

interface Gestures {
  current: { onRange: (range: AbsoluteRange) => void; onReset: () => void };
}

/** Zoom by dragging and by the wheel, move with Shift, reset by a double click. */
function handleGestures(view: uPlot, range: AbsoluteRange, gestures: Gestures): () => void {
  const { over } = view;
  let current = { from: range.from / 1000, to: range.to / 1000 };
  let timer: ReturnType<typeof setTimeout> | undefined;
  let nextFrame = 0;

  const draw = (): void => {
    nextFrame = 0;
    view.setScale("x", { min: current.from, max: current.to });
  };
  view.scales.x!.range = () => [current.from, current.to];
  const show = (from: number, to: number): void => {
    current = { from, to };
    // Some mice tell more often than the screen shows.
    if (nextFrame === 0) nextFrame = requestAnimationFrame(draw);
  };
  const ask = (): void => {
    const { from, to } = current;
    gestures.current.onRange({ from: Math.round(from) * 1000, to: Math.max(Math.round(to), Math.round(from) + 1) * 1000 });
  };

  const hooks = view.hooks as Record<string, ((view: uPlot) => void)[]>;
  (hooks.setSelect ??= []).push(() => {
    const { left, width } = view.select;
    if (width < 4) return;
    const from = view.posToVal(left, "x");
    const to = view.posToVal(left + width, "x");
    view.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    show(from, to);
    ask();
  });

  const wheel = (event: WheelEvent): void => {
    // Without a key the wheel scrolls the page.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const at = current.from + (event.offsetX / over.clientWidth) * (current.to - current.from);
    const factor = event.deltaY < 0 ? 0.8 : 1.25;
    show(at - (at - current.from) * factor, at + (current.to - at) * factor);
    clearTimeout(timer);
    timer = setTimeout(ask, WHEEL_PAUSE_MS);
  };

  const press = (event: MouseEvent): void => {
    if (!event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const start = event.clientX;
    const { from, to } = current;
    const perPixel = (to - from) / over.clientWidth;
    const move = (moved: MouseEvent): void => {
      const by = (start - moved.clientX) * perPixel;
      show(from + by, to + by);
    };
    const release = (): void => {
      document.removeEventListener("mousemove", move);
      document.removeEventListener("mouseup", release);
      if (current.from !== from) ask();
    };
    document.addEventListener("mousemove", move);
    document.addEventListener("mouseup", release);
  };
  const reset = (): void => gestures.current.onReset();

  over.addEventListener("wheel", wheel, { passive: false });
  over.addEventListener("mousedown", press, { capture: true });
  over.addEventListener("dblclick", reset);
  return () => {
    clearTimeout(timer);
    cancelAnimationFrame(nextFrame);
    over.removeEventListener("wheel", wheel);
    over.removeEventListener("mousedown", press, { capture: true });
    over.removeEventListener("dblclick", reset);
  };
}
