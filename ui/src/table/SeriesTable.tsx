import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { commonLabels, formatLabels, type Labels, visible } from "../api/matrix";
import { formatNumber } from "../components/format";
import { adjust, page } from "../state/page";
import { scale } from "../state/scale";
import { parseFilter } from "./filter";

export interface TableSeries {
  readonly color: string;
  readonly labels: Labels;
  readonly numbers: Readonly<Record<string, number | null>>;
  /** What is shown for a number instead of it. */
  readonly texts?: Readonly<Record<string, string>>;
}

interface Props {
  caption: string;
  series: readonly TableSeries[];
  /** Names of the numbers, in the order of the columns. */
  statistics: readonly string[];
  /** Shown even when statistics are hidden. */
  counts: readonly string[];
  isSelected: (index: number) => boolean;
  onSelect: (index: number, isAdding: boolean) => void;
}

type Sort = { readonly by: string; readonly isDescending: boolean };

/** At the usual scale. */
const ROW_PX = 30;
const SHOWN_ROWS = 14;
const MOST_LABEL_COLUMNS = 6;

/** All series as text: sorted, filtered, selected. Only the rows in view are in the page. */
export function SeriesTable(props: Props) {
  const { caption, series, statistics, counts, isSelected, onSelect } = props;
  const { view, hideCommonLabels, hideStatistics, groupBy } = page.value;
  const [text, setText] = useState("");
  const [sort, setSort] = useState<Sort | null>(null);
  const [top, setTop] = useState(0);

  const allLabels = useMemo(() => series.map(({ labels }) => labels), [series]);
  const common = useMemo(() => commonLabels(allLabels), [allLabels]);
  const allNames = useMemo(() => [...new Set(allLabels.flatMap((labels) => Object.keys(labels)))], [allLabels]);
  const names = useMemo(() => {
    const shown = allNames.filter((name) => !(hideCommonLabels && common.has(name)));
    // The label of the groups first.
    return shown.sort((left, right) => Number(right === groupBy) - Number(left === groupBy));
  }, [allNames, common, hideCommonLabels, groupBy]);
  const columns = names.length <= MOST_LABEL_COLUMNS && view === "table" ? names : [];
  const hidden = hideCommonLabels ? common : new Set<string>();
  const shownStatistics = [...counts, ...(hideStatistics ? [] : statistics)];

  const rows = useMemo(() => {
    const holds = parseFilter(text);
    const found = series.map((each, index) => ({ ...each, index })).filter(holds);
    if (sort !== null) {
      const factor = sort.isDescending ? -1 : 1;
      found.sort((left, right) => factor * compare(left, right, sort.by));
    }
    // Sorting is stable: within a group the order stays.
    if (groupBy !== "") found.sort((left, right) => compare(left, right, `label:${groupBy}`));
    return found;
  }, [series, text, sort, groupBy]);
  const isGroupStart = (at: number): boolean =>
    groupBy !== "" && at > 0 && rows[at]!.labels[groupBy] !== rows[at - 1]!.labels[groupBy];

  const rowPx = ROW_PX * scale.value;
  const first = Math.max(0, Math.min(Math.floor(top / rowPx) - 4, rows.length - 1));
  const inView = rows.slice(first, first + SHOWN_ROWS + 8);

  const header = (name: string, title: string, isNumber: boolean): ComponentChildren => {
    const isBy = sort?.by === name;
    return (
      <th
        key={name}
        scope="col"
        class={isNumber ? "number" : ""}
        aria-sort={isBy ? (sort.isDescending ? "descending" : "ascending") : "none"}
      >
        <button type="button" onClick={() => setSort(nextSort(sort, name, isNumber))}>
          {title}
          <span aria-hidden="true">{isBy ? (sort.isDescending ? " ↓" : " ↑") : ""}</span>
        </button>
      </th>
    );
  };
  const width = 2 + shownStatistics.length + Math.max(1, columns.length);

  return (
    <div class="series-table">
      <div class="table-tools">
        <input
          class="input"
          type="search"
          aria-label="Filter series"
          placeholder='Filter: host="a", max > 90'
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <span class="hint" role="status">
          {rows.length === series.length
            ? `${formatNumber(series.length)} series`
            : `${formatNumber(rows.length)} of ${formatNumber(series.length)} series`}
        </span>
        <div class="spacer" />
        <label class="switch">
          Group by
          <select
            class="input"
            value={groupBy}
            onChange={(event) => adjust({ groupBy: event.currentTarget.value })}
          >
            <option value="">nothing</option>
            {[...new Set([...allNames, ...(groupBy === "" ? [] : [groupBy])])].map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <Switch label="Common labels" isOn={!hideCommonLabels} onChange={(on) => adjust({ hideCommonLabels: !on })} />
        <Switch label="Statistics" isOn={!hideStatistics} onChange={(on) => adjust({ hideStatistics: !on })} />
        <Switch label="List" isOn={view === "list"} onChange={(on) => adjust({ view: on ? "list" : "table" })} />
      </div>
      <div
        class="table-scroll"
        tabIndex={0}
        role="region"
        aria-label={caption}
        onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      >
        <table aria-rowcount={rows.length + 1}>
          <caption class="off-screen">{caption}</caption>
          <thead>
            <tr>
              <th class="swatch-cell">
                <span class="off-screen">Shown</span>
              </th>
              {counts.map((name) => header(name, name, true))}
              {columns.length > 0
                ? columns.map((name) => header(`label:${name}`, name === "__name__" ? "name" : name, false))
                : header("labels", "series", false)}
              {!hideStatistics && statistics.map((name) => header(name, name, true))}
            </tr>
          </thead>
          <tbody>
            <Space height={first * rowPx} width={width} />
            {inView.map((row, at) => (
              <tr
                key={row.index}
                class={`${isSelected(row.index) ? "selected" : ""} ${isGroupStart(first + at) ? "group-start" : ""}`}
                onClick={(event) => onSelect(row.index, event.ctrlKey || event.metaKey || event.shiftKey)}
              >
                <td class="swatch-cell">
                  <button
                    type="button"
                    class="swatch"
                    style={{ "--series": row.color }}
                    aria-pressed={isSelected(row.index)}
                    aria-label={`Show ${formatLabels(row.labels)}`}
                  />
                </td>
                {counts.map((name) => cell(row, name))}
                {columns.length > 0 ? (
                  columns.map((name) => (
                    <td key={name} class="label" title={visible(row.labels[name] ?? "")}>
                      {visible(row.labels[name] ?? "")}
                    </td>
                  ))
                ) : (
                  <td class="label" title={formatLabels(row.labels)}>
                    {formatLabels(row.labels, hidden)}
                  </td>
                )}
                {!hideStatistics && statistics.map((name) => cell(row, name))}
              </tr>
            ))}
            <Space height={(rows.length - first - inView.length) * rowPx} width={width} />
          </tbody>
        </table>
        {rows.length === 0 && <p class="empty-note">No series matches the filter.</p>}
      </div>
    </div>
  );
}

function cell(row: TableSeries, name: string): ComponentChildren {
  return (
    <td key={name} class="number">
      {row.texts?.[name] ?? formatNumber(row.numbers[name])}
    </td>
  );
}

function Space({ height, width }: { height: number; width: number }) {
  if (height <= 0) return null;
  return (
    <tr class="space" aria-hidden="true">
      <td colSpan={width} style={{ height: `${height}px` }} />
    </tr>
  );
}

function Switch(props: { label: string; isOn: boolean; onChange: (isOn: boolean) => void }) {
  return (
    <label class="switch">
      <input
        type="checkbox"
        checked={props.isOn}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />
      {props.label}
    </label>
  );
}

function nextSort(sort: Sort | null, by: string, isNumber: boolean): Sort | null {
  if (sort?.by !== by) return { by, isDescending: isNumber };
  return sort.isDescending === isNumber ? { by, isDescending: !isNumber } : null;
}

function compare(left: TableSeries, right: TableSeries, by: string): number {
  if (by === "labels") return formatLabels(left.labels).localeCompare(formatLabels(right.labels));
  if (by.startsWith("label:")) {
    const name = by.slice("label:".length);
    return (left.labels[name] ?? "").localeCompare(right.labels[name] ?? "", undefined, { numeric: true });
  }
  return (left.numbers[by] ?? -Infinity) - (right.numbers[by] ?? -Infinity);
}
