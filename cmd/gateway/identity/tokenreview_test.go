package identity

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// reviewing is a TokenReviewer whose API server says this of every token, and how often it was asked.
func reviewing(status authenticationv1.TokenReviewStatus, failure error) (*TokenReviewer, *int) {
	asked := 0
	cluster := fake.NewClientset()
	cluster.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		review.Status = status
		return true, review, failure
	})
	return NewTokenReviewer(cluster.AuthenticationV1().TokenReviews(), "gateway", time.Minute), &asked
}

func TestWhatTheAPIServerSaysOfAToken(t *testing.T) {
	alice := authenticationv1.UserInfo{Username: "alice", Groups: []string{"staff"}, Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}}}
	for name, test := range map[string]struct {
		status  authenticationv1.TokenReviewStatus
		failure error
		want    error
		asked   int // by two calls
	}{
		"accepted":                            {status: authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"other", "gateway"}, User: alice}, asked: 1},
		"for another audience":                {status: authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{"other"}, User: alice}, want: ErrRefused, asked: 1},
		"by a server that knows no audiences": {status: authenticationv1.TokenReviewStatus{Authenticated: true, User: alice}, want: ErrRefused, asked: 1},
		"refused":                             {status: authenticationv1.TokenReviewStatus{Audiences: []string{"gateway"}}, want: ErrRefused, asked: 1},
		"refused, and why":                    {status: authenticationv1.TokenReviewStatus{Error: "token has expired"}, want: ErrRefused, asked: 1},
		"no answer":                           {failure: errors.New("down: secret-token"), want: ErrUnavailable, asked: 2},
	} {
		t.Run(name, func(t *testing.T) {
			reviewer, asked := reviewing(test.status, test.failure)
			for range 2 {
				caller, err := Union{Cluster: reviewer}.Authenticate(context.Background(), "secret-token")
				require.ErrorIs(t, err, test.want)
				if test.want != nil {
					require.NotContains(t, err.Error(), "secret-token")
					continue
				}
				require.Equal(t, Cluster, caller.Kind)
				require.Equal(t, "alice", caller.Name())
				require.Equal(t, []string{"staff"}, caller.User.GetGroups())
				require.Equal(t, map[string][]string{"k": {"v"}}, caller.User.GetExtra())
			}
			require.Equal(t, test.asked, *asked)
		})
	}
}
