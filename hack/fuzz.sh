#!/bin/sh
# Runs every fuzz target of the module: hack/fuzz.sh <how long each, such as 30s> [<how many targets at once, with one process each>]
set -eu
cd "$(dirname "$0")/.."
at_once=${2:-1}
workers=2
[ "$at_once" = 1 ] || workers=1
for file in $(grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' api cmd controllers hack test); do
	sed -nE "s|^func (Fuzz[A-Za-z0-9_]+)\(.*|$(dirname "$file") \1|p" "$file"
done | xargs -P "$at_once" -L 1 sh -c 'echo "$2 $3"; exec go test "./$2" -run "^\$" -fuzz "^$3\$" -fuzztime "$0" -parallel "$1"' "$1" "$workers"
echo "fuzz: ok"
