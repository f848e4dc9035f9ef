import { Dialog } from "../components/Dialog";
import { keyNames } from "./keys";

const SHORTCUTS: readonly (readonly [string, string])[] = [
  [keyNames.execute, "Execute the query"],
  [keyNames.detect, "Detect anomalies"],
  ["Tab", "Leave the query field, or take the completion"],
  ["Esc", "Close what is open"],
  ["Drag", "Zoom the plot to what is selected"],
  ["Shift + drag", "Move the plot in time"],
  [`${keyNames.modifier} + wheel`, "Zoom the plot in or out"],
  ["Double click", "Reset the zoom"],
  ["Click in the plot", "Keep the values there in view"],
  [`${keyNames.modifier} + click on a row`, "Add a series to those that are plotted"],
];

export function HelpDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Help" onClose={onClose}>
      <table class="keys">
        <tbody>
          {SHORTCUTS.map(([keys, what]) => (
            <tr key={keys}>
              <th scope="row">
                <kbd>{keys}</kbd>
              </th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="hint">
        This page only reads: it changes neither the running configuration nor any data. Its address
        holds its state, so that a link shows the same to others.
      </p>
    </Dialog>
  );
}
