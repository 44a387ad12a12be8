#!/bin/sh
# Writes everything that is generated: deep copies, CRDs, RBAC, the reference of the API, the Go code of the endpoint's OpenAPI document, and the files of
# the ledger's transition table.
set -eu
cd "$(dirname "$0")/.."
generator=bin/tools/controller-gen
$generator object paths=./api/...
$generator crd paths=./api/... output:crd:dir=config/crd/bases
$generator rbac:roleName=tenant-credential-operator paths=./controllers/... paths=./cmd/manager/... output:rbac:dir=config/rbac
$generator rbac:roleName=tenant-credential-gateway paths=./cmd/gateway/... output:rbac:dir=config/gateway
bin/tools/oapi-codegen -config cmd/gateway/openapi/generate.yaml cmd/gateway/openapi/openapi.yaml
bin/tools/oapi-codegen -config cmd/gateway/client/oapi-codegen.yaml cmd/gateway/openapi/openapi.yaml
bin/tools/crd-ref-docs --source-path=api/v1alpha1 --config=hack/tools/apiref/config.yaml --renderer=markdown --output-path=docs/reference/api.md --log-level=ERROR
go generate ./...
