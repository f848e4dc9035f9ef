import { ModelPanel } from "./model/ModelPanel";
import { QueryPanel } from "./query/QueryPanel";
import { DetectionResults } from "./results/DetectionResults";
import { QueryResults } from "./results/QueryResults";
import { page } from "./state/page";

/** The tab where models are tried out. */
export function Exploration() {
  return (
    <>
      <QueryPanel />
      <ModelPanel />
      {page.value.mode === "detect" ? <DetectionResults /> : <QueryResults />}
    </>
  );
}
