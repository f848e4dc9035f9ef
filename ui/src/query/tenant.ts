/** Tenants in the URLs of a cluster: `http://vmselect:8481/select/0:0/prometheus`. */

const PART = /\/select\/([^/]+)/;

/** Return the tenant of a URL; null where it has none. */
export function tenantOf(url: string): string | null {
  return PART.exec(url)?.[1] ?? null;
}

export function withTenant(url: string, tenant: string): string {
  return url.replace(PART, `/select/${tenant}`);
}
