/** Parts of a generated configuration. */

/** Return the section `models` of a configuration that the service has written. */
export function modelPart(yaml: string): string {
  const found = /^models:\n(?:(?: .*)?\n)*/m.exec(yaml.endsWith("\n") ? yaml : `${yaml}\n`);
  return found?.[0] ?? yaml;
}
