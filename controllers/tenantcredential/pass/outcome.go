package pass

import (
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

// Outcome is what has come of a step, or of a whole pass.
type Outcome struct {
	// Seen is what is so now.
	Seen Observed
	// Obstacle is why the pass could not go on; nil where all went well.
	Obstacle *Obstacle
	// Wait is why a rotation that is due has not begun; "" = nothing keeps it.
	Wait rotation.Wait
	// Unseen is why Fly could not be asked, where that says nothing about the app or the token: whether it matters depends on the phase.
	Unseen *Obstacle
	// Access is what kept external access from being given or ended; nil = nothing. It keeps no rotation waiting.
	Access *Obstacle
	// Attempt is what was tried.
	Attempt Attempt
	// Rolled: this pass has noted that every consumer has moved.
	Rolled bool
	// LeftOut are settings of the role that its second login does not have, as found when a password was issued to that.
	LeftOut []string
}

// Attempt is one try at a rotation. The zero value: none was made.
type Attempt struct {
	Made bool
	// Cause is why it was due.
	Cause rotation.Cause
	// Opened is the revision that this pass has begun, 0 = none.
	Opened int64
	// Told: Fly may have taken its value.
	Told bool
	// Before are the Machines as they were before it; nil where there are none to move.
	Before *fly.Progress
	// Login is who logged in with the new password; "" = that was not tried.
	Login string
}
