const PATHS = {
  chevron: "M6 9l6 6 6-6",
  close: "M6 6l12 12M18 6L6 18",
  play: "M7 4.5v15l12-7.5z",
  pulse: "M3 12h4l3-8 4 16 3-8h4",
  wand: "M4 20L15 9M13 4v3M20 11h-3M18 5l-2 2M7 5v2M6 6h2M19 17v2M18 18h2",
  list: "M4 6h16M4 12h16M4 18h10",
  clock: "M12 7v5l3.5 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  gear: "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM19.4 13.5a7.8 7.8 0 0 0 0-3l2-1.5-2-3.4-2.3 1a7.6 7.6 0 0 0-2.6-1.5L14.100 2.600H9.900l-.4 2.500a7.600 7.600 0 0 0-2.600 1.500l-2.300-1-2 3.400 2 1.500a7.800 7.800 0 0 0 0 3l-2 1.500 2 3.400 2.300-1a7.600 7.600 0 0 0 2.600 1.500l.4 2.500h4.200l.4-2.500a7.600 7.600 0 0 0 2.600-1.500l2.300 1 2-3.400z",
  help: "M9.500 9a2.600 2.600 0 1 1 3.700 2.400c-.8.4-1.200.9-1.200 1.800M12 16.800v.1M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  star: "M12 3.500l2.600 5.400 5.900.8-4.300 4.100 1 5.900-5.200-2.800-5.200 2.800 1-5.900-4.300-4.100 5.900-.8z",
  expand: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  download: "M12 4v11M7 11l5 5 5-5M4 20h16",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  info: "M12 11v5.500M12 7.500v.1M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  dots: "M5 12h.1M12 12h.1M19 12h.1",
  sliders: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
  warning: "M12 4l9.500 16h-19zM12 10v4.500M12 17.200v.1",
  refresh: "M20 12a8 8 0 1 1-2.500-5.800M20 4v4h-4",
  zoom: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13zM15.500 15.500L20 20M10.500 8v5M8 10.500h5",
  check: "M8 12.500l3 3 5.500-6.500M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path
        d={PATHS[name]}
        fill={name === "play" ? "currentColor" : "none"}
        stroke="currentColor"
        stroke-width={name === "dots" ? 3 : 1.8}
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
