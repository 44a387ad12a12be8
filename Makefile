# Programs that a command needs and a fresh Debian or Ubuntu lacks are installed or built here, once. `make help` lists the commands.

SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help
BIN := $(CURDIR)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# The public checksum database does not know every version of this module; go.sum holds its checksum.
export GONOSUMDB := github.com/superfly/*
export KUBEBUILDER_ASSETS := $(BIN)/k8s

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: playground ## the main job on real parts, from nothing to "demo: ok"
	@. bin/playground/env && bin/demo

.PHONY: demo-overlap
demo-overlap: playground ## apps that log in all the time, rotated: how many logins fail with Overlap, and with InPlace
	@. bin/playground/env && bin/demo overlap

.PHONY: playground
playground: packages build $(BIN)/k8s/.built postgres ## the demo's system, left running; then: . bin/playground/env
	@bin/playground-ctl up

.PHONY: playground-down
playground-down: ## end the playground, and nothing else
	@if [ -x bin/playground-ctl ]; then bin/playground-ctl down; fi

.PHONY: test
test: packages build $(BIN)/k8s/.built postgres postgres-18 ## everything that must pass
	@echo "running the tests"
	SHORT_TESTS=1 go test -p 2 -vet=off -timeout 60m ./test/integration ./controllers/postgres ./test/secrecy ./test/failover ./test/intruder/sql ./test/intruder/cluster ./test/endpoint ./... # the longest first; make verify vets
	@echo "test: ok"

.PHONY: test-long
test-long: packages build $(BIN)/k8s/.built postgres postgres-18 ## the tests with those that take minutes: each message of the documentation, thieves, poolers
	go test -p 2 -timeout 60m ./test/messages ./test/integration ./...

FUZZTIME ?= 5m
.PHONY: fuzz
fuzz: ## every fuzz target, FUZZTIME=5m each
	hack/fuzz.sh $(FUZZTIME)

FAULT_MATRIX ?= .
FAULT_MATRIX_LANES ?= 3
.PHONY: fault-matrix
fault-matrix: packages build $(BIN)/k8s/.built postgres ## every fault at every step of a rotation; FAULT_MATRIX='^COMMIT: ' runs some
	go test -c -o $(BIN)/faultmatrix.test ./test/faultmatrix
	cd test/faultmatrix && FAULT_MATRIX='$(FAULT_MATRIX)' FAULT_MATRIX_LANES=$(FAULT_MATRIX_LANES) \
		$(BIN)/faultmatrix.test -test.run '^TestMatrix$$' -test.timeout 2h

.PHONY: fault-mutants
fault-mutants: packages build $(BIN)/k8s/.built postgres ## the protocol broken on purpose: which cells fail
	test/faultmatrix/mutants/run.sh

.PHONY: model
model: ## random sequences of everything against the reconciler, in virtual time
	go test ./controllers/tenantcredential -run '^TestModel' -count=1 -rapid.checks=400 -timeout 30m

.PHONY: soak
soak: packages build $(BIN)/k8s/.built postgres ## 200 tenants under faults (DURATION=10m, SEED=<a number> replays a run), then the checker
	SOAK=1 DURATION="$(DURATION)" SEED="$(SEED)" go test ./test/soak -run TestSoak -count=1 -v -timeout 3h

.PHONY: install-test
install-test: packages build $(BIN)/k8s/.built postgres ## the installation, an upgrade and the removal as the pages say, typed on an empty API server
	go test ./test/install -count=1 -v -timeout 30m

.PHONY: outage
outage: packages build $(BIN)/k8s/.built postgres ## 1,000 tenants while PostgreSQL is down: two minutes with a rotation due, and one at rest
	OUTAGE=1 go test ./test/soak -run '^TestOutage$$' -count=1 -v -timeout 1h
	OUTAGE=1 go test ./test/soak -run '^TestOutageAtRest$$' -count=1 -v -timeout 1h

.PHONY: rollout
rollout: packages build $(BIN)/k8s/.built postgres ## 50 apps of 4 Machines rotate at Fly's documented rates; the time beside the bound
	ROLLOUT=1 go test ./test/soak -run '^TestRollout$$' -count=1 -v -timeout 1h

BENCH_PREVIOUS ?= b3d5114
.PHONY: bench
bench: packages build $(BIN)/k8s/.built postgres postgres-18 ## rotations a second: the operator, its parts without it, the operator of BENCH_PREVIOUS=<commit>; the SQL API; refusals of one gateway
	hack/previous.sh $(BENCH_PREVIOUS) $(BIN)/previous
	BENCH=1 BENCH_PREVIOUS=$(BIN)/previous/bin go test ./test/soak -run '^TestBench$$' -count=1 -v -timeout 2h
	go test ./controllers/postgres -run NONE -bench Rotation -benchtime 400x
	ENDPOINT_LOAD=1 go test ./test/endpoint -run '^TestLoad$$' -count=1 -v -timeout 1h

.PHONY: scale
scale: packages build $(BIN)/k8s/.built postgres ## 20,000 tenants at rest: memory, CPU and calls, at the start and after kill -9; N=100000 for more
	SCALE=1 N=$(N) go test ./test/soak -run '^TestScale$$' -count=1 -v -timeout 4h

.PHONY: fly-conformance
fly-conformance: ## the emulator's contracts; against Fly itself with FLY_API_TOKEN and FLY_APP=<a throwaway app>
	FLY_CONFORMANCE=1 go test ./test/conformance -count=1 -v -timeout 1h

.PHONY: verify
verify: tools $(BIN)/k8s/.built ## generated files are current, lint, formatting, kustomizations, known vulnerabilities, the rules for the API
	hack/verify.sh

.PHONY: generate
generate: tools ## write the generated files anew
	hack/generate.sh

.PHONY: build
build: ## manager, gateway, tcred and the programs around them, into bin/
	@mkdir -p bin
	CGO_ENABLED=0 go build -o bin/manager ./cmd/manager
	CGO_ENABLED=0 go build -o bin/gateway ./cmd/gateway
	CGO_ENABLED=0 go build -o bin/tcred ./cmd/tcred
	go build -o bin/fly-emulator ./test/fly/cmd/fly-emulator
	go build -o bin/tenantapp ./test/fly/cmd/tenantapp
	go build -o bin/playground-ctl ./test/playground
	go build -o bin/demo ./test/demo
	go build -o bin/checker ./test/checker/cmd/checker

# kube-apiserver, etcd and kubectl.
$(BIN)/k8s/.built: hack/tools/kubernetes/go.mod hack/tools/kubernetes/go.sum
	@hack/kubernetes.sh $(BIN)/k8s
	ln -sf k8s/kubectl $(BIN)/kubectl
	touch $@

.PHONY: packages
packages: # curl, jq, psql and PgBouncer
	@SUDO="$(SUDO)" hack/packages.sh

.PHONY: postgres
postgres: # PostgreSQL 15
	@SUDO="$(SUDO)" test/postgres/ensure.sh 15

.PHONY: postgres-18
postgres-18: # PostgreSQL 18
	@SUDO="$(SUDO)" test/postgres/ensure.sh 18

.PHONY: tools
tools: $(BIN)/tools/controller-gen $(BIN)/tools/oapi-codegen $(BIN)/tools/golangci-lint $(BIN)/tools/govulncheck $(BIN)/tools/apilint $(BIN)/tools/crd-ref-docs

$(BIN)/tools/controller-gen: hack/tools/codegen/go.mod hack/tools/codegen/go.sum
	@echo "building controller-gen (once, under a minute)"
	cd hack/tools/codegen && go build -o $@ sigs.k8s.io/controller-tools/cmd/controller-gen

$(BIN)/tools/oapi-codegen: hack/tools/codegen/go.mod hack/tools/codegen/go.sum
	@echo "building oapi-codegen (once, under a minute)"
	cd hack/tools/codegen && go build -o $@ github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen

$(BIN)/tools/crd-ref-docs: hack/tools/apiref/go.mod hack/tools/apiref/go.sum
	@echo "building crd-ref-docs (once, under a minute)"
	cd hack/tools/apiref && go build -o $@ github.com/elastic/crd-ref-docs

$(BIN)/tools/golangci-lint: hack/tools/lint/go.mod hack/tools/lint/go.sum
	@echo "building golangci-lint (once, about 3 minutes on two cores)"
	cd hack/tools/lint && go build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(BIN)/tools/apilint: $(wildcard hack/tools/apilint/*)
	@echo "building the linter of the API's types (once, under a minute)"
	cd hack/tools/apilint && go build -o $@ .

$(BIN)/tools/govulncheck: hack/tools/vuln/go.mod hack/tools/vuln/go.sum
	@echo "building govulncheck (once, under a minute)"
	cd hack/tools/vuln && go build -o $@ golang.org/x/vuln/cmd/govulncheck
