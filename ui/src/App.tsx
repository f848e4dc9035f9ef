import { useSignalEffect } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { isReachable } from "./api/client";
import { Notice } from "./components/Notice";
import { download } from "./components/download";
import { detect, execute } from "./state/actions";
import { addressIsTooLong, page, tab } from "./state/page";
import { serverError } from "./state/server";
import { Footer } from "./shell/Footer";
import { Header } from "./shell/Header";
import { hasModifier } from "./shell/keys";
import { type Tab, tabOf } from "./shell/tabs";

export function App() {
  const current = tabOf(tab.value);
  useSignalEffect(() => {
    document.title = `${tabOf(tab.value).title} · vmanomaly`;
  });
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      // The editor has these too, and open dialogs want none.
      const isTaken = event.defaultPrevented || document.querySelector("dialog[open]") !== null;
      if (event.key !== "Enter" || !hasModifier(event) || isTaken || tab.value !== "") return;
      event.preventDefault();
      if (event.shiftKey) detect();
      else execute();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);

  return (
    <>
      <Header />
      <main>
        <h1 class="off-screen">{current.title}</h1>
        {!isReachable.value && (
          <Notice kind="error" title="The service does not answer">
            It is asked again every three seconds. What is on this page stays.
          </Notice>
        )}
        {serverError.value !== "" && (
          <Notice kind="error" title="The service did not say all about itself">
            {serverError.value}
          </Notice>
        )}
        {addressIsTooLong.value && (
          <Notice
            kind="warning"
            title="The address of this page is very long"
            actions={
              <button
                type="button"
                class="button"
                onClick={() =>
                  download("vmanomaly-state.json", JSON.stringify(page.value, null, 2), "application/json")
                }
              >
                Download state
              </button>
            }
          >
            Some programs cut such links.
          </Notice>
        )}
        <TabContent key={current.path} tab={current} />
      </main>
      <Footer />
    </>
  );
}

function TabContent({ tab: current }: { tab: Tab }) {
  const [Content, setContent] = useState<ComponentType | null>(() => {
    const loaded = current.load();
    return loaded instanceof Promise ? null : loaded;
  });
  useEffect(() => {
    const loading = current.load();
    if (loading instanceof Promise) void loading.then((loaded) => setContent(() => loaded));
  }, []);
  return Content === null ? (
    <div class="loading" role="status">
      Loading…
    </div>
  ) : (
    <Content />
  );
}
