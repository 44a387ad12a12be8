package tenantcredential

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

func TestSessionPolicy(t *testing.T) {
	const keep, terminate = v1alpha1.SessionPolicyKeep, v1alpha1.SessionPolicyTerminate
	compromised := func(replaces int64) *v1alpha1.RotationRequest {
		return &v1alpha1.RotationRequest{ReplacesRevision: replaces, Compromised: true}
	}
	tests := map[string]struct {
		object, environment v1alpha1.SessionPolicy
		request             *v1alpha1.RotationRequest
		done                int64 // the newest revision whose rotation was because of a compromise
		want                string
	}{
		"no spec says anything":                {want: postgres.SessionsKept},
		"the environment's":                    {environment: terminate, want: postgres.SessionsTerminated},
		"the object's goes before":             {object: keep, environment: terminate, want: postgres.SessionsKept},
		"the object's":                         {object: terminate, environment: keep, want: postgres.SessionsTerminated},
		"compromised":                          {object: keep, request: compromised(1), want: postgres.SessionsCompromised},
		"a request that is none":               {request: &v1alpha1.RotationRequest{ReplacesRevision: 1}, want: postgres.SessionsKept},
		"of a revision that there is not":      {request: compromised(2), want: postgres.SessionsKept},
		"compromised long ago, and done since": {object: terminate, request: compromised(0), done: 1, want: postgres.SessionsTerminated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := resting()
			s.tenant.CompromisedRevision = test.done
			s.object.Spec.Rotation.SessionPolicy, s.environment.Spec.Rotation.SessionPolicy = test.object, test.environment
			s.object.Spec.RotationRequest = test.request
			require.Equal(t, test.want, pass.SessionPolicy(s.in, s.out.Seen))
		})
	}
}
