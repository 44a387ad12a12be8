package postgres

// What follows from a Tenant by itself.

// Unfinished says that the ledger has a rotation that was begun and not completed.
func (t *Tenant) Unfinished() bool { return t.Open != nil || t.Rolling() }

// Rolling says that the newest committed rotation is not completed.
func (t *Tenant) Rolling() bool { return t.Last != nil && t.Last.State != StateCompleted }

// Rolled says that the newest committed rotation has reached every consumer, and that the previous login is being closed.
func (t *Tenant) Rolled() bool { return t.Last != nil && t.Last.State == StateRolled }

// Unproved says that no login with the password of the newest committed rotation has succeeded.
func (t *Tenant) Unproved() bool { return t.Rolling() && t.Last.LoginCheckedAt.IsZero() }

// LoginsClosed says that a rotation after a compromise was begun, and no login of the tenant can be used until it is committed.
func (t *Tenant) LoginsClosed() bool { return t.Open != nil && !t.Open.ClosedAt.IsZero() }

// PasswordDrifted says that the login's password is not the one that the ledger knows. A login that is closed after a compromise has none.
func (t *Tenant) PasswordDrifted() bool {
	switch {
	case t.LoginsClosed():
		return false
	case t.Last != nil:
		return t.VerifierDigest != t.Last.VerifierDigest
	default:
		return t.Claim != nil && t.VerifierDigest != t.Claim.VerifierDigest
	}
}

// LoginDrifted says that nothing is in progress, and a login that no rotation has left open can be used.
func (t *Tenant) LoginDrifted() bool { return t.FormerLogin != "" && !t.Unfinished() }

// HashDrifted says that the stored hash is not the one that the ledger knows.
func (t *Tenant) HashDrifted() bool {
	if t.Last != nil {
		return t.HashDigest != t.Last.HashDigest
	}
	return t.Claim != nil && t.HashDigest != t.Claim.HashDigest
}
