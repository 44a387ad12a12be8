package install

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// requireKept asserts that what outlives the operator is there.
func (s *site) requireKept(t *testing.T) {
	t.Helper()
	s.typed(t, `kubectl -n tcred-system get secret postgres-sandbox postgres-sandbox-ca fly-sandbox
kubectl get crd tenantcredentials.credentials.systemprompt.io tenantenvironments.credentials.systemprompt.io
kubectl get tenv sandbox
kubectl -n tenants-sandbox get tcred acme vandelay
kubectl get validatingadmissionpolicy tenantcredential-requested-by tenant-credential-operator-in-use`, "")
	require.Empty(t, s.typed(t, `kubectl get ns,crd,tenv -o jsonpath='{.items[*].metadata.deletionTimestamp}'`, ""))
}

// removeOperatorFirst: a rotation in progress stands still, and goes on when the operator is there again.
func (s *site) removeOperatorFirst(t *testing.T) {
	mend := s.halfDone(t)
	rotations, value := s.rotations(t), s.flyValue(t)
	s.typed(t, "kubectl delete -k install", "")
	s.cluster.requireNoPods(t)
	s.requireKept(t)
	mend()
	require.Equal(t, rotations, s.rotations(t))
	s.typed(t, "kubectl apply -k install", "")
	s.requireFinished(t, rotations, value)
}

// removeKindsFirst is refused at every try, by any command, with the operator and without it.
func (s *site) removeKindsFirst(t *testing.T) {
	refused := func() {
		for _, command := range []string{"kubectl delete -k config/api", "kubectl delete -k config/api", "kubectl delete namespace tcred-system",
			"kubectl delete crd tenantcredentials.credentials.systemprompt.io", "kubectl delete crd tenantenvironments.credentials.systemprompt.io"} {
			require.Contains(t, s.refused(t, command), "TenantEnvironment sandbox is in use. Nothing was deleted. To fix, follow docs/uninstall.md")
		}
		s.requireKept(t)
	}
	refused()
	s.typed(t, "kubectl delete -k install", "")
	refused()
	s.typed(t, "kubectl apply -k install", "")
	mend := s.halfDone(t)
	rotations, value := s.rotations(t), s.flyValue(t)
	require.Contains(t, s.refused(t, "kubectl delete tenv sandbox --timeout=2s"), "timed out") // its finalizer
	mend()
	s.requireFinished(t, rotations, value)
	s.typed(t, "kubectl wait tenv sandbox --for=delete --timeout=60s\nkubectl apply -f install/environment.yaml\n"+s.ready, "")
}

// uninstall follows docs/uninstall.md, from a rotation in progress on. Of the operator nothing is left, and the tenants have what they had.
func (s *site) uninstall(t *testing.T) {
	p := readPage(t, "docs/uninstall.md", "", "")
	s.raise(t, "acme")
	for _, heading := range []string{"1. Let nothing begin", "2. Wait for what has begun", "3. The TenantCredentials", "4. The TenantEnvironments", "5. The operator"} {
		s.typed(t, p.next(t, heading), "")
	}
	s.cluster.requireNoPods(t)
	require.NotContains(t, s.rotations(t), "committed")
	s.typed(t, p.next(t, "6. The namespace and the kinds"), "")
	s.typed(t, p.next(t, "7. The ledger"), "")
	s.typed(t, p.next(t, "7. The ledger"), "")
	p.requireDone(t)

	left := s.typed(t, "kubectl get ns,crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding -o name", "")
	for _, ours := range []string{"tcred-system", "systemprompt", "tenant-credential", "tenantcredential"} {
		require.NotContains(t, left, ours)
	}
	require.Empty(t, s.one(t, `SELECT coalesce(string_agg(name, ', '), '') FROM (
		SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenant\_credentials%' OR rolname = 'tcred_operator'
		UNION ALL SELECT nspname FROM pg_namespace WHERE nspname = 'tenant_credentials'
		UNION ALL SELECT setconfig::text FROM pg_db_role_setting
		UNION ALL SELECT parname FROM pg_parameter_acl
		UNION ALL SELECT relacl::text FROM pg_class WHERE relacl::text ~ 'tenant_credentials|tcred_operator') AS left_over (name)`), "PostgreSQL has something left")
	s.typed(t, "grep -q 'COPY tenant_credentials.rotations' install/ledger.sql", "")
	s.requireLogin(t, s.flyValue(t))
	s.requireLogin(t, s.vandelayValue(t)) // the Secret is the application's now
	require.Equal(t, "2", s.one(t, "SELECT count(*)::text FROM management.tenants t JOIN pg_authid a ON a.rolname = 'tenant_' || left(t.id::text, 8) WHERE t.password_hash = a.rolpassword"))
	s.typed(t, "kubectl delete namespace tenants-sandbox", "")
}

// removeLedgerFirst: nothing begins, and the apps keep what they have. With a ledger anew a tenant that was rotated gets a new password.
func (s *site) removeLedgerFirst(t *testing.T) {
	p := readPage(t, "docs/uninstall.md", "7. The ledger", "In another order")
	value := s.flyValue(t)
	s.typed(t, p.next(t, "7. The ledger"), "")
	s.typed(t, `kubectl annotate --overwrite tenv sandbox example.com/look=ledger`, "")
	require.Contains(t, s.shown(t, "LedgerOutdated"), "No rotation of this environment starts; the apps keep their present passwords.")
	s.requireLogin(t, value)
	s.typed(t, "kubectl -n tenants-sandbox wait tcred acme --for=condition=Ready --timeout=1m", "") // nothing is due to it
	again := readPage(t, "docs/upgrade.md", "1. The ledger", "2. The kinds").next(t, "1. The ledger")
	s.typed(t, again+"\n"+s.ready, "")
	require.Eventually(t, func() bool { return s.rotations(t) == "2 completed" }, wait, look, "the operator does not rotate what the ledger has lost")
	require.NotEqual(t, value, s.flyValue(t))
	s.typed(t, "kubectl -n tenants-sandbox wait tcred acme --for=condition=Ready --timeout=1m", "")
	s.requireLogin(t, s.flyValue(t))
}

// removeAllAtOnce takes the guard away first, and then all that is left, in the middle of a rotation. The way back is the one of the page.
func (s *site) removeAllAtOnce(t *testing.T) {
	mend := s.halfDone(t)
	rotations, value := s.rotations(t), s.flyValue(t)
	s.typed(t, "kubectl delete -k config/admission\nkubectl delete -k install", "")
	require.Eventually(t, func() bool { // the API server goes by a deleted policy for a moment
		_, err := s.try(t, "kubectl delete -k config/api --dry-run=server", "")
		return err == nil
	}, wait, look)
	s.typed(t, "kubectl delete -k config/api --wait=false\nkubectl wait namespace tcred-system --for=delete --timeout=60s", "")
	s.typed(t, `kubectl -n tenants-sandbox get tcred acme -o jsonpath='{.metadata.deletionTimestamp}' | grep .`, "") // held by its finalizer
	mend()

	secrets := readPage(t, "README.md", "3. The Secrets", "4. The environment").next(t, "3. The Secrets")
	s.typed(t, "kubectl apply -k config/api\n"+secrets+"\nkubectl apply -k install", "")
	s.typed(t, "kubectl wait crd/tenantcredentials.credentials.systemprompt.io crd/tenantenvironments.credentials.systemprompt.io --for=delete --timeout=2m", "")
	s.typed(t, "kubectl apply -k config/api\nkubectl apply -k config/admission\nkubectl apply -k install\nkubectl apply -f install/environment.yaml\n"+s.ready+"\nkubectl apply -f install/acme.yaml", "")
	s.requireFinished(t, rotations, value)
}
