#!/bin/bash
# Breaks the protocol on purpose, one patch at a time in a copy of the tree, and shows which cells of the fault matrix fail. A mutant
# that fails none is an error, but for those whose name begins with "guarded": they show the effect of a second defence.
# usage: run.sh [PATCH…]; MUTANT_CELLS is a regular expression that says which cells to run
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../../.." && pwd)
cells=${MUTANT_CELLS:-'^(Fly write|commit\(\)|COMMIT|deliver: COMMIT): '}
lanes=${FAULT_MATRIX_LANES:-3}
survivors=0
[ $# -gt 0 ] || set -- "$here"/*.patch
for patch in "$@"; do
	name=$(basename "$patch" .patch)
	copy=$(mktemp -d "${TMPDIR:-/tmp}/mutant-XXXXXX")
	(cd "$repository" && git ls-files -z | xargs -0 cp --parents -t "$copy")
	mkdir -p "$copy/bin"
	for made in k8s kubectl postgres-15 postgres-18; do
		if [ -e "$repository/bin/$made" ]; then ln -s "$repository/bin/$made" "$copy/bin/$made"; fi
	done
	(cd "$copy" && patch --quiet -p1 <"$patch")
	make --no-print-directory -C "$copy" build >/dev/null
	(cd "$copy" && go test -c -o bin/faultmatrix.test ./test/faultmatrix)
	echo "== $name"
	(cd "$copy/test/faultmatrix" && FAULT_MATRIX="$cells" FAULT_MATRIX_LANES="$lanes" \
		"$copy/bin/faultmatrix.test" -test.run '^TestMatrix$' -test.timeout 2h) >"$copy/bin/output" 2>&1 || true
	if [ ! -f "$copy/bin/fault-matrix.json" ]; then
		tail -20 "$copy/bin/output"
		exit 1
	fi
	cat "$copy/bin/fault-matrix.json"
	mkdir -p "$repository/bin/fault-mutants/$name"
	cp "$copy"/bin/fault-matrix* "$copy/bin/output" "$repository/bin/fault-mutants/$name/"
	if grep -q '"failed": \[\]' "$copy/bin/fault-matrix.json"; then
		case $name in guarded*) ;; *) survivors=$((survivors + 1)) ;; esac
	fi
	rm -rf "$copy"
done
[ "$survivors" -eq 0 ] || { echo "$survivors mutants were not noticed" >&2; exit 1; }
