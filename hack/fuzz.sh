#!/bin/sh
# Runs every fuzz target of the module: hack/fuzz.sh <how long each, such as 30s>
set -eu
cd "$(dirname "$0")/.."
export fuzztime=$1
# The end of the time given can race with a worker, which go test calls a failure with this text alone, without an input that fails
# (https://go.dev/issue/75804, until Go 1.27): that is run once more.
export race='^    context deadline exceeded$'
for file in $(grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' api cmd controllers hack test); do
	sed -nE "s|^func (Fuzz[A-Za-z0-9_]+)\(.*|$(dirname "$file") \1|p" "$file"
done | xargs -L 1 sh -c '
	fuzz() { go test "./$1" -run "^\$" -fuzz "^$2\$" -fuzztime "$fuzztime" -fuzzminimizetime 1s -parallel 2 2>&1; }
	said=$(fuzz "$1" "$2") || { echo "$said" | grep -q "$race" && said=$(fuzz "$1" "$2"); } || { echo "$1 $2"; echo "$said"; exit 1; }
	echo "ok $1 $2: $(echo "$said" | grep execs: | tail -n 1)"
' fuzz
echo "fuzz: ok"
