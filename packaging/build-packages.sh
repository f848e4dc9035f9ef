#!/bin/sh
# Build the wheel, the sdist and the bill of materials (CycloneDX) into a folder:
#
#     build-packages.sh FOLDER
set -eu
mkdir -p "$1"
dist=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
uv_version=$(sed -n 's/^UV_VERSION := //p' Makefile)
"$tools/bin/pip" install --quiet --disable-pip-version-check "uv==$uv_version" cyclonedx-bom==7.5.0
packaging/build-ui.sh "$tools/bin/python"
"$tools/bin/uv" build --quiet --no-create-gitignore --out-dir "$dist" --python "$(command -v python3)" \
    --require-hashes --build-constraints requirements-dev.lock
# Of what the wheel is installed with: its dependencies as they are pinned.
"$tools/bin/cyclonedx-py" requirements requirements.lock --pyproject pyproject.toml \
    --output-reproducible --of JSON --output-file "$dist/vmanomaly.cdx.json"
