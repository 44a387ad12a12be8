// Package timing is the ladder of deadlines: each outlasts what it waits for, so that what is given up has come to its end by then. A test holds the order.
package timing

import "time"

const (
	// FlyAttempt bounds one request that writes a secret at Fly, so that a hanging one leaves time to send the same bytes again.
	FlyAttempt = 5 * time.Second
	// FlyWrite is how long the same bytes are sent to Fly again while its answer is lost. The tenant is locked meanwhile.
	FlyWrite = 15 * time.Second
	// Transaction bounds the one transaction: a wait for a lock (LockWait), Fly, and COMMIT.
	Transaction = 25 * time.Second
	// IdleInTransaction is after how long the server ends a transaction that idles: the process has died, or is cut off (PostgreSQL's
	// idle_in_transaction_session_timeout). In health it idles for FlyWrite at most.
	IdleInTransaction = 30 * time.Second
	// Stop is how long a process that is asked to stop waits for the passes in progress.
	Stop = 40 * time.Second
	// Terminated is after how long Kubernetes kills a process that was asked to stop (terminationGracePeriodSeconds in config/manager/manager.yaml).
	Terminated = 60 * time.Second

	// LockWait is how long a statement waits for a lock (lock_timeout, which the SQL function begin_change sets).
	LockWait = 3 * time.Second
	// Statement bounds one statement (statement_timeout); a statement that waits for a lock gives up before that.
	Statement = 10 * time.Second
	// Call bounds one call of PostgreSQL, its wait for a connection included. A server that is cut off by the network does not refuse, it is
	// silent; then the timeouts that the server keeps help nothing.
	Call = 15 * time.Second

	// Rollout bounds one look at, and step of, all Machines of an app.
	Rollout = 50 * time.Second
	// Lease is how long a Machine's lease lasts: an update is never sent under one that has run out.
	Lease = 60 * time.Second
	// Pass bounds one pass over an object; its longest step is a rollout's.
	Pass = 90 * time.Second
)
