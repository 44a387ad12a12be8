// Package faultmatrix makes every kind of fault happen at every step of a rotation, one at a time, and has the independent checker
// judge the tenant's state. It runs the shipped manager, unmodified, against a real kube-apiserver, real PostgreSQL and
// the Fly emulator; package faultproxy stands on the wire between them.
//
// `make fault-matrix` runs everything. FAULT_MATRIX=<regular expression> runs the cells whose names it matches, as in
// `make fault-matrix FAULT_MATRIX='^COMMIT: '`. A plain `go test` runs a slice.
package faultmatrix
