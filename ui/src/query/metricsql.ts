/** MetricsQL in the editor: the grammar of PromQL, and the functions that it lacks. */

import type { CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import { EditorState, type Extension } from "@codemirror/state";
import { LanguageType, PromQLExtension } from "@prometheus-io/codemirror-promql";
import { getLabelNames, getLabelValues } from "../api/service";
import { datasourceFields } from "../state/server";
import { METRICSQL_FUNCTIONS } from "./functions";
import { keptNames } from "./kept";

const MOST_NAMES = "5000";

/** Return the language, with names from the datasource in its completion. */
export function metricsQl(hasCompletion: boolean): Extension {
  // Its linter knows only PromQL; errors are those of the datasource.
  const promQl = new PromQLExtension().activateLinter(false).activateCompletion(hasCompletion);
  if (!hasCompletion) return promQl.asExtension(LanguageType.PromQL);
  promQl.setComplete({ remote: new Names() });
  return [
    promQl.asExtension(LanguageType.PromQL),
    EditorState.languageData.of(() => [{ autocomplete: functions }]),
  ];
}

function functions(context: CompletionContext): CompletionResult | null {
  const word = context.matchBefore(/[A-Za-z_]\w*/);
  if (word === null || (word.from === word.to && !context.explicit)) return null;
  // Within braces there are labels, and within quotes their values.
  const before = context.state.sliceDoc(Math.max(0, word.from - 500), word.from);
  if (/\{[^}]*$/.test(before)) return null;
  return {
    from: word.from,
    options: METRICSQL_FUNCTIONS.map((label) => ({ label, detail: "function", type: "function" })),
    validFor: /^\w*$/,
  };
}

/** Asks the datasource for names. */
class Names {
  labelNames(metricName?: string): Promise<string[]> {
    return keptNames(`names ${metricName}`, () =>
      getLabelNames(datasourceFields.value, { limit: MOST_NAMES, ...(metricName ? { "match[]": metricName } : {}) }),
    );
  }

  labelValues(labelName: string, metricName?: string): Promise<string[]> {
    return keptNames(`values ${labelName} ${metricName}`, () =>
      getLabelValues(datasourceFields.value, labelName, {
        limit: MOST_NAMES,
        ...(metricName ? { "match[]": metricName } : {}),
      }),
    );
  }

  metricNames(): Promise<string[]> {
    return this.labelValues("__name__");
  }

  series(): Promise<Map<string, string>[]> {
    return Promise.resolve([]);
  }

  metricMetadata(): Promise<Record<string, never[]>> {
    return Promise.resolve({});
  }

  flags(): Promise<Record<string, string>> {
    return Promise.resolve({});
  }
}
