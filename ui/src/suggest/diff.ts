/** The lines in which two texts differ. */

export interface DiffLine {
  readonly kind: "same" | "removed" | "added";
  readonly text: string;
}

/** Return the lines of both texts, with the fewest removed and added. */
export function diffLines(before: string, after: string): DiffLine[] {
  const [left, right] = [linesOf(before), linesOf(after)];
  // How many lines are common from here on, for each pair of places.
  const common = left.map(() => new Array<number>(right.length + 1).fill(0));
  common.push(new Array<number>(right.length + 1).fill(0));
  for (let row = left.length - 1; row >= 0; row -= 1) {
    for (let column = right.length - 1; column >= 0; column -= 1) {
      common[row]![column] =
        left[row] === right[column]
          ? common[row + 1]![column + 1]! + 1
          : Math.max(common[row + 1]![column]!, common[row]![column + 1]!);
    }
  }
  const lines: DiffLine[] = [];
  let [row, column] = [0, 0];
  while (row < left.length || column < right.length) {
    if (row < left.length && column < right.length && left[row] === right[column]) {
      lines.push({ kind: "same", text: left[row]! });
      row += 1;
      column += 1;
    } else if (column >= right.length || (row < left.length && common[row + 1]![column]! >= common[row]![column + 1]!)) {
      lines.push({ kind: "removed", text: left[row]! });
      row += 1;
    } else {
      lines.push({ kind: "added", text: right[column]! });
      column += 1;
    }
  }
  return lines;
}

function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}
