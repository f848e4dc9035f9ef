#!/usr/bin/env bash
# Run tests on each Python that pyproject.toml names and this machine has, but for the one that is the
# argument, which make test uses: those of what depends on Python more than on NumPy and kernels, and
# a service that runs to its end. On the newest Python, where most changes, also those of the server and
# its clients, of detectors and some models, where most kernels are compiled.
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

SHORT=(
    tests/test_*.py
    tests/{cli,config,service,state}
    tests/integration/test_integration_oneoff.py
)
ON_NEWEST=(
    tests/{detector,http,server,tables,tasks}
    tests/model/test_model_{digests,factors,levels,temporal_envelope,zscore_online}.py
)

status=0
summary=()
versions=$(sed -n 's/.*"Programming Language :: Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml)
newest=$(sort -V <<<"$versions" | tail -n 1)
for version in $versions; do
    if [[ $version == "$1" ]]; then
        summary+=("Python $version: that of make test")
    elif ! python=$(find_python "$version"); then
        summary+=("Python $version: not on this machine")
    else
        selection=("${SHORT[@]}")
        [[ $version == "$newest" ]] && selection+=("${ON_NEWEST[@]}")
        if make --no-print-directory setup VENV=".venv-$version" PYTHON="$python" &&
            ".venv-$version/bin/python" -m pytest -n "${WORKERS:-4}" --dist loadfile -m "not slow" "${selection[@]}"; then
            summary+=("Python $version: passed")
        else
            summary+=("Python $version: FAILED")
            status=1
        fi
    fi
done
printf '%s\n' "${summary[@]}"
exit $status
