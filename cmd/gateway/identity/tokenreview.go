package identity

import (
	"context"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/authentication/user"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	ctrl "sigs.k8s.io/controller-runtime"
)

// reviewTimeout bounds one question to the API server.
const reviewTimeout = 5 * time.Second

// TokenReviewer asks the API server whose token it is.
type TokenReviewer struct {
	audience string
	cached   authenticator.Token
}

// NewTokenReviewer accepts tokens for one audience. The API server's answer is kept for ttl, a refusal as well.
func NewTokenReviewer(client authenticationclient.TokenReviewInterface, audience string, ttl time.Duration) *TokenReviewer {
	r := &TokenReviewer{audience: audience}
	r.cached = cache.New(authenticator.TokenFunc(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
		return r.review(ctx, client, token)
	}), false, ttl, ttl)
	return r
}

func (r *TokenReviewer) authenticate(ctx context.Context, token string) (Caller, error) {
	response, known, err := r.cached.AuthenticateToken(ctx, token)
	switch {
	case err != nil:
		return Caller{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case !known:
		return Caller{}, ErrRefused
	default:
		return Caller{Kind: Cluster, User: response.User}, nil
	}
}

// review tells a refusal from a failure. Kubernetes' own client of this API does not, so that it would keep no refusal that has a reason, such as an
// expired token, and have each such call reach the API server.
func (r *TokenReviewer) review(ctx context.Context, client authenticationclient.TokenReviewInterface, token string) (*authenticator.Response, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{r.audience}}}
	review, err := client.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		reason := apierrors.ReasonForError(err) // the error itself may hold the request
		ctrl.Log.WithName("identity").Info("the API server did not review a token", "reason", reason, "forbidden", apierrors.IsForbidden(err))
		return nil, false, fmt.Errorf("TokenReview: %s", reason)
	}
	// A server that does not know audiences leaves them out, and its answer is then about a token for any service.
	if !review.Status.Authenticated || !slices.Contains(review.Status.Audiences, r.audience) {
		return nil, false, nil
	}
	known := &user.DefaultInfo{Name: review.Status.User.Username, UID: review.Status.User.UID, Groups: review.Status.User.Groups, Extra: map[string][]string{}}
	for key, value := range review.Status.User.Extra {
		known.Extra[key] = value
	}
	return &authenticator.Response{User: known, Audiences: authenticator.Audiences{r.audience}}, true, nil
}
