// Package pass holds the values of one pass over a TenantCredential, and what follows from them by itself: what the pass begins with (Input), what it
// has seen (Observed), the facts of the decision (Facts), and what has come of it (Outcome). A value is not changed once it is made: a step that
// sees more makes a new one. The package does no I/O.
package pass
