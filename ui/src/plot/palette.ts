/** Colors of the plots, from the tokens of the style sheet. */

export interface Palette {
  readonly series: readonly string[];
  readonly text: string;
  readonly grid: string;
  readonly actual: string;
  readonly expected: string;
  readonly band: string;
  readonly anomaly: string;
  readonly score: string;
  readonly forecast: string;
  readonly forecastBand: string;
  readonly boundary: string;
  readonly font: string;
}

const N_SERIES = 12;

export function readPalette(scale: number): Palette {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    series: Array.from({ length: N_SERIES }, (_, index) => token(`series-${index + 1}`)),
    text: token("text-soft"),
    grid: token("grid"),
    actual: token("actual"),
    expected: token("expected"),
    band: token("band"),
    anomaly: token("anomaly"),
    score: token("score"),
    forecast: token("forecast"),
    forecastBand: token("forecast-band"),
    boundary: token("boundary"),
    font: `${Math.round(11 * scale)}px ${style.getPropertyValue("--font")}`,
  };
}

export function colorOf(index: number): string {
  return `var(--series-${(index % N_SERIES) + 1})`;
}

export function paint(palette: Palette, index: number): string {
  return palette.series[index % N_SERIES]!;
}
