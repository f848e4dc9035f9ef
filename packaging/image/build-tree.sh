#!/bin/sh
# Put the service into /opt/vmanomaly and its work folder into /vmanomaly: all that the image adds to
# a Python and curl. The Dockerfile runs this, and so does the test of the image, in a folder.
#
#     build-tree.sh CHECKOUT
set -eu
checkout=$(cd "$1" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# The tools that build are not part of the image.
python3 -m venv "$build/tools"
uv_version=$(sed -n 's/^UV_VERSION := //p' "$checkout/Makefile")
"$build/tools/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir "uv==$uv_version"
uv="$build/tools/bin/uv --quiet --no-cache --no-progress --no-python-downloads"

# Every package comes with a hash, those that build the UI and the wheel too.
npm_config_cache="$build/npm" "$checkout/packaging/build-ui.sh" "$build/tools/bin/python"
$uv build --wheel --python "$(command -v python3)" --out-dir "$build/wheel" \
    --require-hashes --build-constraints "$checkout/requirements-dev.lock" "$checkout"
$uv venv --python "$(command -v python3)" /opt/vmanomaly
VIRTUAL_ENV=/opt/vmanomaly
export VIRTUAL_ENV
$uv pip sync --require-hashes "$checkout/requirements-image.lock"
$uv pip install --no-deps "$build"/wheel/*.whl

# What users mount, read and import.
mkdir -p /vmanomaly/config /vmanomaly/dashboard /vmanomaly/src/model
cp "$checkout"/examples/config/*.yaml /vmanomaly/config/
cp "$checkout/LICENSE" /vmanomaly/
package=$(/opt/vmanomaly/bin/python -c 'import vmanomaly; print(*vmanomaly.__path__)')
cp "$package/presets/default/dashboard.json" /vmanomaly/dashboard/vmanomaly_grafana_dashboard.json

# Machine code for any processor of the architecture, and bytecode: the user of the container cannot
# write either.
NUMBA_CPU_NAME=generic /opt/vmanomaly/bin/python "$checkout/packaging/image/compile_kernels.py"
/opt/vmanomaly/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/vmanomaly/lib
chmod -R a+rX,go-w /opt/vmanomaly /vmanomaly
