package soak

import (
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
)

// roundTrips are those of one rotation to PostgreSQL, by the function that is called, counted on the wire. The environment's login goes through a proxy
// from then on. What begins a connection is left out, and so is the login check.
func (b *bench) roundTrips(t *testing.T) map[string]int {
	t.Helper()
	rules := faultproxy.NewRules()
	proxy, err := faultproxy.NewPostgres(net.JoinHostPort("127.0.0.1", os.Getenv("PGPORT")), rules)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	login, err := url.Parse(b.secret(t, "postgres-"+environment, "url").Reveal())
	require.NoError(t, err)
	login.Host = proxy.Address
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tcred-system", Name: "postgres-" + environment}, StringData: map[string]string{"url": login.String()}}
	require.NoError(t, b.client.Patch(t.Context(), secret, client.Merge))
	awaitCall(t, rules, "survey")

	last := benchTenants + benchAlone - 1
	for _, generation := range []int64{2, 3} { // the first one makes the connections
		rules.Set(nil)
		require.NoError(t, b.patch(t.Context(), last, "rotationGeneration", strconv.FormatInt(generation, 10)))
		b.await(t, last, func(status *v1alpha1.TenantCredentialStatus) bool { return status.RotationGeneration == generation })
	}
	trips := map[string]int{}
	for _, call := range calls(rules) {
		if call.Name != "login" && strings.Contains(call.About, b.tenants[last].id) {
			trips[call.Name]++
		}
	}
	return trips
}

func calls(rules *faultproxy.Rules) []faultproxy.Call {
	passed, _ := rules.Calls()
	return passed
}

func awaitCall(t *testing.T, rules *faultproxy.Rules, name string) {
	t.Helper()
	timeout := time.After(benchBound)
	for {
		passed, more := rules.Calls()
		for _, call := range passed {
			if call.Name == name {
				return
			}
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no %s", name)
		}
	}
}
