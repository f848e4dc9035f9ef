import { useSignalEffect } from "@preact/signals";
import { useState } from "preact/hooks";
import { getTenants } from "../api/service";
import { Choices } from "../components/Choices";
import { DurationField } from "../components/DurationField";
import { Icon } from "../components/Icon";
import { Popover } from "../components/Popover";
import { runQuery } from "../query/run";
import { tenantOf, withTenant } from "../query/tenant";
import { SettingsDialog } from "../settings/SettingsDialog";
import { commit, page, step, tab, tabAddress } from "../state/page";
import { datasourceFields, datasourceInfo, datasourceUrl, isDatasourceFixed } from "../state/server";
import { HelpDialog } from "./HelpDialog";
import { TABS, tabOf } from "./tabs";
import { TimeRangePicker } from "./TimeRangePicker";

export function Header() {
  const [open, setOpen] = useState<"settings" | "help" | null>(null);
  const current = tabOf(tab.value);
  const close = (): void => setOpen(null);
  return (
    <header class="header">
      <a class="brand" href={tabAddress("")}>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="7" class="brand-back" />
          <path class="brand-line" d="M4 21h6l3-4 3 3 3-13 4 17 2-3h3" />
        </svg>
        vmanomaly
      </a>
      <nav class="nav" aria-label="Tabs">
        {TABS.map(({ path, title }) => (
          <a
            key={path}
            href={tabAddress(path)}
            aria-current={path === current.path ? "page" : undefined}
          >
            {title}
          </a>
        ))}
      </nav>
      <div class="spacer" />
      {current.hasQueryControls && (
        <>
          <TenantPicker />
          <StepPicker />
          <TimeRangePicker />
        </>
      )}
      <button
        type="button"
        class="button quiet icon-only"
        aria-label="Settings"
        title="Settings"
        onClick={() => setOpen("settings")}
      >
        <Icon name="gear" />
      </button>
      <button
        type="button"
        class="button quiet icon-only"
        aria-label="Help"
        title="Help"
        onClick={() => setOpen("help")}
      >
        <Icon name="help" />
      </button>
      {open === "settings" && <SettingsDialog onClose={close} />}
      {open === "help" && <HelpDialog onClose={close} />}
    </header>
  );
}

function StepPicker() {
  const { step: chosen } = page.value;
  return (
    <Popover
      title={`Step: ${step.value}${chosen ? "" : ", fits the time range"}`}
      label={
        <>
          <span class="setting-name">Step</span> <span class="value">{step.value}</span>
        </>
      }
    >
      {(close) => (
        <DurationField
          label="Step"
          hint="Distance of the points, for the query and for the model."
          value={chosen}
          isOptional
          placeholder="auto"
          suggestions={["15s", "30s", "1m", "5m", "15m", "1h"]}
          onApply={(value) => {
            commit({ step: value });
            if (page.value.mode === "query") void runQuery();
            close();
          }}
        />
      )}
    </Popover>
  );
}

/** Only where the datasource has tenants. */
function TenantPicker() {
  const [tenants, setTenants] = useState<readonly string[]>([]);
  useSignalEffect(() => {
    if (datasourceInfo.value === null || datasourceUrl.value === "") return;
    const { tenant_id: _chosen, ...fields } = datasourceFields.value;
    let isOld = false;
    // Without an answer there is nothing to choose from.
    getTenants(fields).then((found) => !isOld && setTenants(found), () => !isOld && setTenants([]));
    return () => {
      isOld = true;
    };
  });
  const inUrl = tenantOf(datasourceUrl.value);
  if (tenants.length === 0) return null;
  const current = page.value.tenant || inUrl || "0:0";
  const choices = [...new Set([...tenants, "multitenant"])].map((each) => ({ value: each, label: each }));
  return (
    <Popover
      title={`Tenant: ${current}`}
      label={
        <>
          <span class="setting-name">Tenant</span> <span class="value">{current}</span>
        </>
      }
    >
      {(close) => (
        <Choices
          label="Tenants"
          isSearchable
          selected={current}
          choices={choices}
          onChoose={(tenant) => {
            const rewrites = inUrl !== null && !isDatasourceFixed.value;
            commit({
              tenant,
              ...(rewrites ? { datasourceUrl: withTenant(datasourceUrl.value, tenant) } : {}),
            });
            if (page.value.mode === "query") void runQuery();
            close();
          }}
        />
      )}
    </Popover>
  );
}
