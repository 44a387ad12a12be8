#!/bin/sh
# Writes everything that is generated: deep copies, CRDs, RBAC, and what comes from the ledger's transition table.
set -eu
cd "$(dirname "$0")/.."
generator=bin/tools/controller-gen
$generator object paths=./api/...
$generator crd paths=./api/... output:crd:dir=config/crd/bases
$generator rbac:roleName=tenant-credential-operator paths=./controllers/... paths=./cmd/... output:rbac:dir=config/rbac
go generate ./...
