#!/bin/sh
# Fails when something generated is not current, when a file is not formatted, when a text has a word that the project does not use (hack/words), when
# the linter finds something, when a part of config/
# cannot be built, when the image's build lacks a file, when a known vulnerability can be reached, when the protocol cannot be broken on purpose any
# more (make fault-mutants), or when a CRD breaks a rule of its design (ADR 17) or compatibility with the last release.
set -eu
cd "$(dirname "$0")/.."
before=$(git status --porcelain; git diff | sha256sum)
hack/generate.sh
after=$(git status --porcelain; git diff | sha256sum)
if [ "$before" != "$after" ]; then
	git --no-pager diff --stat
	echo "generated files are not current: run make generate and commit" >&2
	exit 1
fi
go mod tidy -diff
unformatted=$(gofmt -l api cmd controllers hack test)
if [ -n "$unformatted" ]; then
	echo "not formatted (gofmt -w): $unformatted" >&2
	exit 1
fi
go run ./hack/words
for module in . hack/tools/apilint hack/tools/apiref hack/tools/codegen hack/tools/lint hack/tools/vuln hack/tools/kubernetes; do
	(cd "$module" && go mod verify >/dev/null)
done
for kustomization in $(find config -name kustomization.yaml); do
	bin/kubectl kustomize "$(dirname "$kustomization")" >/dev/null
done
for source in $(sed -n 's/^COPY \([^-].*\) [^ ]*$/\1/p' Dockerfile); do
	grep -qxF "!$source" .dockerignore || { echo "the Dockerfile copies $source, and .dockerignore leaves it out" >&2; exit 1; }
done
for mutant in test/faultmatrix/mutants/*.patch; do
	git apply --check "$mutant"
done
bin/tools/golangci-lint run
bin/tools/apilint ./api/...
release=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)
if [ -n "$release" ]; then
	for crd in $(git ls-tree --name-only "$release" config/crd/bases/); do
		git show "$release:$crd" | go run ./hack/crdcompat "$crd"
	done
else
	echo "CRDs: no release yet to compare with"
fi
# Known vulnerabilities of what the programs call. govulncheck says when its database was updated only if it can reach it.
if timeout 60 bin/tools/govulncheck -version 2>/dev/null | grep -q "DB updated"; then
	bin/tools/govulncheck ./...
else
	echo "govulncheck: skipped, its database cannot be reached"
fi
echo "verify: ok"
