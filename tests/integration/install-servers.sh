#!/bin/sh
# Install the Debian packages named as arguments when they are missing.
set -eu

missing=""
for package in "$@"; do
    dpkg-query --show --showformat='${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "The integration tests need these Debian packages:$missing" >&2
    echo "Install them as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The packages' own services are not wanted: the tests start the servers themselves.
{
    apt-get update --quiet --quiet &&
        RUNLEVEL=1 apt-get install --yes --quiet --no-install-recommends $missing
} >"$log" 2>&1 || {
    cat "$log" >&2
    echo "Could not install:$missing" >&2
    exit 1
}
