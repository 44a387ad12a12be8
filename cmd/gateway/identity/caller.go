// Package identity establishes the caller: a subject of the cluster, by TokenReview, or a customer, by OpenID Connect.
package identity

import (
	"context"
	"errors"

	"k8s.io/apiserver/pkg/authentication/user"
)

// Kind is what a caller's rights come from.
type Kind string

// The kinds of callers.
const (
	// Cluster is a user or service account of the cluster. Its rights are the cluster's, by SubjectAccessReview.
	Cluster Kind = "cluster"
	// Customer is a user of the platform that an OpenID Connect issuer names. It has a right to the tenants that it owns, and none in the cluster.
	Customer Kind = "customer"
)

// Caller is an authenticated caller.
type Caller struct {
	Kind Kind
	User user.Info
}

// Name is the caller's username.
func (c Caller) Name() string { return c.User.GetName() }

var (
	// ErrRefused says that a token is not accepted. It holds nothing of the token.
	ErrRefused = errors.New("the token is not accepted")
	// ErrUnavailable says that the place which could say so does not answer.
	ErrUnavailable = errors.New("the token cannot be checked now")
)

// Authenticator says whose token it is. Its errors are ErrRefused and ErrUnavailable.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (Caller, error)
}

// Union asks the issuers first, which is done here and costs no call, and the API server about what no issuer claims.
type Union struct {
	Issuers Issuers
	Cluster *TokenReviewer
}

// Authenticate implements Authenticator.
func (u Union) Authenticate(ctx context.Context, token string) (Caller, error) {
	if issuer := u.Issuers.of(token); issuer != nil {
		return issuer.authenticate(ctx, token)
	}
	return u.Cluster.authenticate(ctx, token)
}
