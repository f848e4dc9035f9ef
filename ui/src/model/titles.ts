/** Names of classes as people say them. */

const TITLES: Readonly<Record<string, string>> = {
  auto: "Autotuned",
  mad_online: "Online MAD",
  quantile_online: "Online seasonal quantile",
  zscore_online: "Online Z-score",
  temporal_envelope: "Temporal envelope",
  temporal_envelope_multivariate: "Temporal envelope, multivariate",
  rolling_quantile: "Rolling quantile",
  std: "Seasonal standard deviation",
  prophet: "Prophet",
  holtwinters: "Holt-Winters",
  isolation_forest: "Isolation forest",
  isolation_forest_multivariate: "Isolation forest, multivariate",
};

/** Return the title of a class; for one that is new here, its name. */
export function titleOfClass(name: string): string {
  return TITLES[name] ?? name;
}
