import { serviceUrl } from "../api/client";
import { buildInfo } from "../state/server";

const LINKS = [
  ["API", "docs"],
  ["Metrics", "metrics"],
  ["Health", "health"],
  ["Dashboards and rules", "presets/"],
] as const;

export function Footer() {
  const info = buildInfo.value;
  return (
    <footer class="footer">
      <span>
        vmanomaly {info?.vmanomaly ?? ""} · UI {info?.vmui ?? ""}
      </span>
      <nav aria-label="Documentation">
        {LINKS.map(([title, path]) => (
          <a key={path} href={serviceUrl(path)}>
            {title}
          </a>
        ))}
      </nav>
    </footer>
  );
}
