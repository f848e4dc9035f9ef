"""Write the dashboards into the package, where the service serves them from."""

from __future__ import annotations

from pathlib import Path

from dashboards.generate import generated

PRESETS = Path(__file__).parents[1] / "src" / "vmanomaly" / "presets"

if __name__ == "__main__":
    for path, text in generated().items():
        file = PRESETS / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
