// Package postgres is the operator's side of PostgreSQL: the schema tenant_credentials (ledger, claims and the functions that
// guard them), how a DBA installs it, and the calls that the controllers make.
//
// The operator's login may EXECUTE the functions and nothing else. A caller of this package never sees a driver's error: each is
// translated to a failure.Error, whose text holds no statement, no parameter and no password.
package postgres
