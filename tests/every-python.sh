#!/usr/bin/env bash
# Run tests on each Python that pyproject.toml names and this machine has, but for the one that is the
# argument, which make test uses: those of make unit, and those of services that end by themselves.
set -uo pipefail
cd "$(dirname "$0")/.."

find_python() {
    local candidate
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python "$(command -v "python$1")" \
        "$(.venv/bin/uv python find --no-python-downloads "$1" 2>/dev/null)"; do
        # What is on the path may be no more than a shim of pyenv.
        if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

status=0
summary=()
for version in $(sed -n 's/.*"Programming Language :: Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml); do
    if [[ $version == "$1" ]]; then
        summary+=("Python $version: that of make test")
    elif ! python=$(find_python "$version"); then
        summary+=("Python $version: not on this machine")
    elif make --no-print-directory setup VENV=".venv-$version" PYTHON="$python" &&
        ".venv-$version/bin/python" -m pytest -n 2 --dist worksteal -m "not slow" --ignore tests/integration --ignore tests/ui &&
        ".venv-$version/bin/python" -m pytest -n 2 tests/integration/test_integration_{backtesting,custom,oneoff}.py; then
        summary+=("Python $version: passed")
    else
        summary+=("Python $version: FAILED")
        status=1
    fi
done
printf '%s\n' "${summary[@]}"
exit $status
