// Package checker says whether the system is in the state that it promises, without asking the operator and without using a line of
// its code: plain SQL as the superuser of each PostgreSQL server, kubectl, and the admin API of the Fly emulator, in which every
// secret stands in the clear.
//
// For every tenant that is adopted or named by a TenantCredential it asserts that
//   - the role's verifier, the stored hash and the ledger's digests are the same;
//   - Fly's value of the app's variable names the tenant's role and database, and its password satisfies the verifier and logs in;
//   - every started Machine runs with that very value;
//   - version and digest in the ledger are Fly's;
//   - no rotation is left unfinished, and none was made twice for one generation;
//   - the TenantCredential's status agrees with the ledger;
//   - exactly the rotations that were due since a Snapshot have a completed row, and where none was due nothing was changed.
//
// And that no password that was ever generated and reached Fly, in force or not, stands in a log, an object of the cluster, etcd's
// files, a metric, a table of the ledger or a statement that PostgreSQL remembers, raw or encoded. Nor does a verifier in force.
//
// The system has to be at rest while it is checked: what is read at different moments is compared.
package checker
