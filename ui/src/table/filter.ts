/** Filters of the table: `anomalies > 0`, `host="web-1"`, `max >= 90`, or any text. */

export interface Row {
  readonly labels: Readonly<Record<string, string>>;
  /** Statistics by name, such as min or anomalies. */
  readonly numbers: Readonly<Record<string, number | null>>;
}

const CONDITION = /^([A-Za-z_][\w.]*)\s*(=~|!~|!=|<=|>=|==|=|<|>)\s*(.*)$/;

const COMPARISONS: Readonly<Record<string, (left: number, right: number) => boolean>> = {
  "=": (left, right) => left === right,
  "==": (left, right) => left === right,
  "!=": (left, right) => left !== right,
  "<": (left, right) => left < right,
  "<=": (left, right) => left <= right,
  ">": (left, right) => left > right,
  ">=": (left, right) => left >= right,
};

export type Filter = (row: Row) => boolean;

/** Return what a text says about rows; conditions are separated by commas or `and`. */
export function parseFilter(text: string): Filter {
  const conditions = text
    .split(/(?:,|\band\b)(?=(?:[^"]*"[^"]*")*[^"]*$)/)
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map(condition);
  return (row) => conditions.every((holds) => holds(row));
}

function condition(text: string): Filter {
  const [, name, operator, given] = CONDITION.exec(text) ?? [];
  if (name === undefined || operator === undefined || given === undefined) return contains(text);
  const value = given.replace(/^"(.*)"$/, "$1");
  const compare = COMPARISONS[operator];
  const number = Number(given);
  return (row) => {
    if (name in row.numbers && compare !== undefined && given !== "" && !Number.isNaN(number)) {
      const own = row.numbers[name] ?? null;
      return own !== null && compare(own, number);
    }
    return matches(row.labels[name] ?? "", operator, value);
  };
}

function matches(own: string, operator: string, value: string): boolean {
  switch (operator) {
    case "=":
    case "==":
      return own === value;
    case "!=":
      return own !== value;
    case "=~":
    case "!~":
      return matchesPattern(own, value) === (operator === "=~");
    default:
      return false;
  }
}

function matchesPattern(own: string, pattern: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})$`).test(own);
  } catch {
    // Not finished yet.
    return false;
  }
}

function contains(text: string): Filter {
  const wanted = text.toLowerCase();
  return (row) =>
    Object.entries(row.labels).some(([name, value]) => `${name}=${value}`.toLowerCase().includes(wanted));
}
