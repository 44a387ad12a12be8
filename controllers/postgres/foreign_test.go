package postgres

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
)

// foreign is a platform whose management table is on another server, with a proxy on the way to each of the two.
type foreign struct {
	*fixture
	id          string
	ours, other *faultproxy.Postgres
	between     *faultproxy.Rules // for the calls of our server to the other one
	there       *pgx.Conn         // to the other server, beside the proxy
}

func newForeign(t *testing.T, f *fixture) *foreign {
	t.Helper()
	id, _ := f.newTenant()
	elsewhere := sharedServer(t, map[string]string{"15": "18", "18": "15"}[f.version])
	f.moveTableTo(t, elsewhere)
	w := &foreign{fixture: f, id: id, between: faultproxy.NewRules()}
	w.other = proxyTo(t, elsewhere.Port, w.between)
	w.ours = proxyTo(t, f.pg.Port, faultproxy.NewRules())
	f.exec("alter server platform options (set port '" + portOf(t, w.other) + "', add sslmode 'disable')")
	f.exec("create user mapping for tenant_credentials_hash server platform options (user 'hash', password 'hash')")
	require.NoError(t, Install(t.Context(), f.dbaURL(), f.installation()))
	_, err := f.server.Adopt(t.Context(), adoptionOf(id, "uid"))
	require.NoError(t, err)
	w.there, err = pgx.Connect(t.Context(), strings.Replace(elsewhere.SuperuserURL(), "/postgres?", "/"+f.database+"?", 1))
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.there.Close(context.Background()) })
	return w
}

func proxyTo(t *testing.T, port int, rules *faultproxy.Rules) *faultproxy.Postgres {
	t.Helper()
	proxy, err := faultproxy.NewPostgres(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), rules)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	return proxy
}

func portOf(t *testing.T, proxy *faultproxy.Postgres) string {
	t.Helper()
	_, port, err := net.SplitHostPort(proxy.Address)
	require.NoError(t, err)
	return port
}

// onCommit has a fault happen to the COMMIT of the transaction that has written the hash.
func (w *foreign) onCommit(fault faultproxy.Fault) {
	var done atomic.Bool
	w.between.Set(func(call faultproxy.Call, before []faultproxy.Call) faultproxy.Fault {
		for _, f := range before {
			if call.Name == "COMMIT" && f.Name == "UPDATE" && f.Session == call.Session && done.CompareAndSwap(false, true) {
				return fault
			}
		}
		return nil
	})
}

// attempt rotates through the proxy before our server, and attemptBy through any.
func (w *foreign) attempt(t *testing.T, revision int64) error {
	t.Helper()
	server, err := Connect(t.Context(), Config{URL: credential.SecretOf(strings.Replace(w.operatorURL(), ":"+strconv.Itoa(w.pg.Port)+"/", ":"+portOf(t, w.ours)+"/", 1))})
	require.NoError(t, err)
	defer server.Close()
	return w.attemptBy(server, revision)
}

func (w *foreign) attemptBy(server *Server, revision int64) error {
	return server.InTransaction(w.t.Context(), w.id, "uid", func(ctx context.Context, tx Transaction) error {
		if err := tx.Stage(ctx, Staging{Revision: revision, Verifier: w.verifier(credential.NewPassword()), LoginChecked: true}); err != nil {
			return err
		}
		return tx.Commit(ctx, FlyWrite{App: "app", Version: 1, Digest: "digest"})
	})
}

func (w *foreign) stored() (hash string) {
	require.NoError(w.t, w.there.QueryRow(w.t.Context(), "select password_hash from tenants where id = $1", w.id).Scan(&hash))
	return hash
}

// betweenCommits are what happens after the other server has committed and before ours does.
var betweenCommits = map[string]struct {
	fault  func(*foreign, faultproxy.Passage)
	reason failure.Reason
	class  failure.Class
}{
	"the answer is lost": {func(*foreign, faultproxy.Passage) {}, reasons.ConnectionFailed, failure.Retry},
	// Nothing but our server itself can end what it waits for then.
	"the answer does not come, and the operator is gone": {func(w *foreign, p faultproxy.Passage) { w.ours.Close(); <-p.GivenUp() }, reasons.OutcomeUnknown, failure.Unknown},
}

// The other server commits first. The hash there stays where the transaction here is rolled back, and the next attempt replaces it.
func TestTheOtherServerCommitsFirst(t *testing.T) {
	for name, what := range betweenCommits {
		t.Run(name, func(t *testing.T) {
			onEachVersion(t, func(t *testing.T, f *fixture) {
				w := newForeign(t, f)
				before, opened := w.stored(), f.open(w.id, 1)
				happened := make(chan error, 1)
				w.onCommit(func(p faultproxy.Passage) {
					happened <- p.Forward()
					what.fault(w, p)
				})
				requireFailure(t, w.attempt(t, opened.Revision), what.class, what.reason)
				require.NoError(t, <-happened)
				left := w.stored()
				require.NotEqual(t, before, left)

				require.Eventually(t, func() bool { return w.rotates(opened.Revision) }, time.Minute, 100*time.Millisecond, "the tenant stays locked")
				seen := f.observe(w.id)
				require.Equal(t, seen.VerifierDigest, seen.HashDigest)
				require.Equal(t, seen.VerifierDigest, seen.Last.VerifierDigest)
				require.NotEqual(t, left, w.stored())
			})
		})
	}
}

// rotates says whether the next attempt, which finds all as it was but the hash, succeeds.
func (w *foreign) rotates(revision int64) bool {
	seen := w.observe(w.id)
	require.NotEqual(w.t, seen.VerifierDigest, seen.HashDigest)
	require.Equal(w.t, seen.Claim.VerifierDigest, seen.VerifierDigest)
	require.Equal(w.t, revision, seen.Open.Revision)
	return w.attemptBy(w.server, revision) == nil
}
