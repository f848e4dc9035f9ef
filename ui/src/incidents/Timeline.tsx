import { useRef, useState } from "preact/hooks";
import { zone } from "../state/page";
import { formatTime } from "../time/zone";
import type { Incidents } from "./api";
import { highestOf, lanesOf } from "./lanes";
import type { Window } from "./links";
import { lasting, severityOf, severityWord, titleOf } from "./words";

interface Props {
  data: Incidents;
  onWindow: (window: Window) => void;
  onReset: () => void;
}

const WIDTH = 1000;
const BARS = 52;
const LANE = 7;
const N_LANES = 8;
const MOST_BARS = 240;
const LEAST_DRAG = 6;

/** How many series were anomalous over time, and the incidents below; a window is chosen by dragging. */
export function Timeline({ data, onWindow, onReset }: Props) {
  const root = useRef<HTMLDivElement>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const { start, end, incidents } = data;
  const length = end - start;
  const x = (at: number): number => (WIDTH * (at - start)) / length;
  const bars = highestOf(data.timeline.n_series, MOST_BARS);
  const most = Math.max(1, ...bars);
  const lanes = lanesOf(incidents, N_LANES, length / 200);
  const height = BARS + 6 + LANE * (Math.max(0, ...lanes) + 1);
  const total = incidents.length;

  const share = (event: PointerEvent): number => {
    const box = root.current!.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  return (
    <div
      class="timeline"
      ref={root}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        const at = share(event);
        setDrag({ from: at, to: at });
      }}
      onPointerMove={(event) => drag !== null && setDrag({ ...drag, to: share(event) })}
      onPointerCancel={() => setDrag(null)}
      onPointerUp={() => {
        if (drag === null) return;
        const [low, high] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
        setDrag(null);
        if ((high - low) * (root.current?.clientWidth ?? 0) < LEAST_DRAG) return;
        const [from, to] = [low, high].map((part) => Math.round(start + part * length));
        if (to! > from!) onWindow({ from: from!, to: to! });
      }}
      onDblClick={onReset}
    >
      <svg
        viewBox={`0 0 ${WIDTH} ${height}`}
        preserveAspectRatio="none"
        style={{ height: `${height / 10}rem` }}
        role="img"
        aria-label={`${total} ${total === 1 ? "incident" : "incidents"}, at most ${most} series anomalous at a time`}
      >
        <line class="timeline-base" x1="0" x2={WIDTH} y1={BARS} y2={BARS} />
        {bars.map((count, index) => {
          const tall = (BARS - 2) * (count / most);
          const wide = WIDTH / bars.length;
          return (
            count > 0 && (
              <rect
                key={index}
                class="timeline-bar"
                x={index * wide}
                width={Math.max(wide - 0.6, 0.6)}
                y={BARS - tall}
                height={tall}
              />
            )
          );
        })}
        {incidents.map((incident, index) => (
          <rect
            key={index}
            class={`timeline-incident severity-${severityWord(severityOf(incident))}`}
            x={Math.min(WIDTH - 3, Math.max(0, x(incident.start)))}
            width={Math.max(3, x(incident.end) - x(incident.start))}
            y={BARS + 5 + LANE * lanes[index]!}
            height={LANE - 2}
            rx="1"
          >
            <title>
              {`${titleOf(incident)}, ${formatTime(incident.start * 1000, zone.value)}, ${lasting(incident.end - incident.start)}`}
            </title>
          </rect>
        ))}
      </svg>
      {bars.some((count) => count > 0) && (
        <span class="timeline-most" aria-hidden="true">
          {most} series
        </span>
      )}
      {drag !== null && (
        <div
          class="timeline-drag"
          style={{
            left: `${100 * Math.min(drag.from, drag.to)}%`,
            width: `${100 * Math.abs(drag.to - drag.from)}%`,
          }}
        />
      )}
    </div>
  );
}
