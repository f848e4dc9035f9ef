/** What the service says about itself, asked once for each visit. */

import { computed, signal } from "@preact/signals";
import { isReachable } from "../api/client";
import * as service from "../api/service";
import { tenantOf, withTenant } from "../query/tenant";
import { page } from "./page";
import { preferences } from "./preferences";

export const buildInfo = signal<service.BuildInfo | null>(null);
export const datasourceInfo = signal<service.DatasourceInfo | null>(null);
export const serverQueries = signal<Readonly<Record<string, string>>>({});
export const serverModels = signal<Readonly<Record<string, service.ServerModel>>>({});
export const modelClasses = signal<readonly string[]>([]);
/** What failed while the service was asked. */
export const serverError = signal("");

/** Whether the server says which datasource all requests go to. */
export const isDatasourceFixed = computed(() => Boolean(datasourceInfo.value?.ui_datasource_url));

export const datasourceUrl = computed(
  () =>
    datasourceInfo.value?.ui_datasource_url ||
    page.value.datasourceUrl ||
    datasourceInfo.value?.server_datasource_url ||
    "",
);

export const datasourceType = computed(() => {
  const info = datasourceInfo.value;
  const fixed = isDatasourceFixed.value ? info?.ui_datasource_type : "";
  const { datasourceUrl: own, datasourceType: chosen } = page.value;
  const ofServer = own === "" ? info?.server_datasource_type : "";
  const type = fixed || chosen || ofServer || "vm";
  return type === "vmlogs" || type === "vlogs" ? "vlogs" : "vm";
});

/** Which datasource requests are for; nothing of it where the server decides. */
export const datasourceFields = computed<service.DatasourceFields>(() => {
  const { datasourceUrl: url, datasourceType: chosen, tenant } = page.value;
  const type = chosen || (datasourceType.value === "vlogs" ? "vlogs" : "");
  const fixed = isDatasourceFixed.value;
  // 0 is what links of vmui have that were made without tenants.
  const isChosen = tenant !== "" && tenant !== "0";
  const own = fixed ? "" : isChosen && tenantOf(url) !== null ? withTenant(url, tenant) : url;
  const inUrl = tenantOf(own || datasourceUrl.value) !== null;
  return {
    ...(own ? { datasource_url: own } : {}),
    ...(!fixed && type ? { datasource_type: type } : {}),
    ...(isChosen && !inUrl ? { tenant_id: tenant } : {}),
    ...(preferences.value.passAuthHeaders ? { pass_auth_headers: true } : {}),
  };
});

export async function askServer(): Promise<void> {
  const answers = await Promise.allSettled([
    service.getBuildInfo().then((answer) => (buildInfo.value = answer)),
    service.getDatasource().then((answer) => (datasourceInfo.value = answer)),
    service.getServerQueries().then((answer) => (serverQueries.value = answer)),
    service.getServerModels().then((answer) => (serverModels.value = answer)),
    service.getModelClasses().then((answer) => (modelClasses.value = answer)),
  ]);
  const failed = answers.find((answer) => answer.status === "rejected");
  // The banner says it where nothing answers.
  serverError.value = failed && isReachable.value ? String(failed.reason?.message ?? failed.reason) : "";
}
