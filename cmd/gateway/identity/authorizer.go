package identity

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// NewAuthorizer asks the API server what a subject of the cluster may do. Its answer is kept for ttl.
func NewAuthorizer(client authorizationclient.AuthorizationV1Interface, ttl time.Duration) (authorizer.Authorizer, error) {
	return authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: client,
		AllowCacheTTL:             ttl,
		DenyCacheTTL:              ttl,
		// The caller waits: a second attempt is worth it, and more are the caller's.
		WebhookRetryBackoff: &wait.Backoff{Steps: 2, Duration: 200 * time.Millisecond},
	}.New()
}
