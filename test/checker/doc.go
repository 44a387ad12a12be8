// Package checker says whether the system is in the state that it promises, without asking the operator and without using a line of
// its code: plain SQL as the superuser of each PostgreSQL server, kubectl, and the admin API of the Fly emulator, in which every
// secret stands in the clear.
//
// For every tenant that is adopted or named by a TenantCredential it asserts that
//   - the role's verifier, the stored hash and the ledger's digests are the same;
//   - Fly's value of the app's variable names the tenant's role and database, and its password satisfies the verifier and logs in;
//   - every started Machine runs with that very value;
//   - the connection Secret, where one is asked for, says the same in all of its keys, and its password logs in;
//   - version and digest in the ledger are Fly's;
//   - no rotation is left unfinished, and none was made twice for one generation;
//   - the TenantCredential's status agrees with the ledger;
//   - exactly the rotations that were due since a Snapshot have a completed row, and where none was due nothing was changed.
//
// And that no password that was ever generated and sent to Fly, taken or not, in force or not, stands anywhere but in the app's secret, and,
// if its tenant asks for that, in the tenant's connection Secret (so that it is in etcd's files, and in the audit log's lines about Secrets): in
// a log, the manager's crash output or a file that it left, an object of the cluster, the API server's audit log, etcd's files, a metric,
// the emulator's list of requests, a file or a table of PostgreSQL or a statement that it remembers; raw, encoded or dumped. Nor does a
// verifier in force stand outside of PostgreSQL's files, or a login or token of the operator's own in the operator's output. Of a
// password that was thrown away before it was sent, only its looks are known: nothing in the logs looks like it.
//
// The system has to be at rest while it is checked: the checker compares data that it reads at different moments.
package checker
