/** Times of day in a time zone; "" is that of the browser. */

export interface CivilTime {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string): Intl.DateTimeFormat {
  let found = formats.get(zone);
  if (found === undefined) {
    found = new Intl.DateTimeFormat("en-US", {
      ...(zone === "" ? {} : { timeZone: zone }),
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
    formats.set(zone, found);
  }
  return found;
}

export function isZone(zone: string): boolean {
  try {
    format(zone);
    return true;
  } catch {
    return false;
  }
}

export function civil(timestampMs: number, zone: string): CivilTime {
  const parts: Record<string, number> = {};
  for (const { type, value } of format(zone).formatToParts(timestampMs)) {
    parts[type] = Number(value);
  }
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = parts;
  return { year, month, day, hour, minute, second };
}

function asUtc({ year, month, day, hour, minute, second }: CivilTime): number {
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** Return the offset from UTC in milliseconds at a time. */
export function offset(timestampMs: number, zone: string): number {
  const whole = Math.floor(timestampMs / 1000) * 1000;
  return asUtc(civil(whole, zone)) - whole;
}

/** Return when the clocks of a zone show a time; the later one when they show none or two. */
export function fromCivil(time: CivilTime, zone: string): number {
  const wanted = asUtc(time);
  const first = wanted - offset(wanted, zone);
  return wanted - offset(first, zone);
}

const two = (value: number): string => String(value).padStart(2, "0");

/** Return such as 2026-03-01 09:30:00. */
export function formatTime(timestampMs: number, zone: string): string {
  const { year, month, day, hour, minute, second } = civil(timestampMs, zone);
  return `${year}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}:${two(second)}`;
}

/** Return both ends of a range, without what they and the clock leave no doubt about. */
export function formatRange(from: number, to: number, zone: string, nowMs: number): string {
  const ends = [from, to].map((each) => civil(each, zone));
  const year = civil(nowMs, zone).year;
  const hasYear = ends.some((each) => each.year !== year);
  const hasSeconds = ends.some(({ second }) => second !== 0);
  return [from, to]
    .map((each) => formatTime(each, zone).slice(hasYear ? 0 : "2026-".length, hasSeconds ? undefined : -":00".length))
    .join(" – ");
}

/** Read what `formatTime` writes, also with a T or without seconds or the time of day. */
export function parseTime(text: string, zone: string): number | null {
  const found = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?$/.exec(text.trim());
  if (found === null) return null;
  const [year, month, day, hour, minute, second] = found.slice(1).map((part) => Number(part ?? 0));
  const time = {
    year: year!,
    month: month!,
    day: day!,
    hour: hour!,
    minute: minute!,
    second: second!,
  };
  const normalized = civil(asUtc(time), "UTC");
  if (normalized.day !== day || normalized.month !== month || normalized.hour !== hour) return null;
  return fromCivil(time, zone);
}

/** Return such as UTC+01:00. */
export function formatOffset(timestampMs: number, zone: string): string {
  const minutes = Math.round(offset(timestampMs, zone) / 60_000);
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}
