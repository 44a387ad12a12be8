package postgres

// The states of a rotation.
const (
	StateOpen       = "open"       // begun: an intent, nothing has changed
	StateStaged     = "staged"     // inside the transaction only: role and hash are changed, the row can not be committed so
	StateCommitted  = "committed"  // role, hash and ledger changed together; from here only forward
	StateCompleted  = "completed"  // every consumer has the new value
	StateSuperseded = "superseded" // a newer rotation was committed before this one was completed
	StateDiscarded  = "discarded"  // given up before it was committed
)
