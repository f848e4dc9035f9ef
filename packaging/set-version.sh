#!/bin/sh
# Make the version of the package that of a tag, such as v1.2.3.
set -eu
version=${1#v}
file=$(dirname "$0")/../src/vmanomaly/__init__.py
sed -i "s/^__version__ = \".*\"$/__version__ = \"$version\"/" "$file"
grep -q "^__version__ = \"$version\"$" "$file" || {
    echo "$file has no line __version__ = \"...\"" >&2
    exit 1
}
