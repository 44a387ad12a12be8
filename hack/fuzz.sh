#!/bin/sh
# Runs every fuzz target of the module, one after the other: hack/fuzz.sh <how long each, such as 30s> [<how many processes at once>]
set -eu
cd "$(dirname "$0")/.."
for file in $(grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' api cmd controllers hack test); do
	for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$file"); do
		echo "$(dirname "$file") $target"
		go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$1" -parallel "${2:-2}"
	done
done
echo "fuzz: ok"
