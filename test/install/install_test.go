package install

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/literate"
)

const (
	imageName = "registry.example.com/tenant-credential-operator:"
	wait      = 60 * time.Second
	look      = 50 * time.Millisecond
)

// From nothing to the first rotation, with mistakes; an upgrade; removals in the wrong order and in the right one; the installation again.
func TestInstall(t *testing.T) { // one test, as each part begins where the one before has ended
	harness.Long(t)
	s := newSite(t)
	for _, part := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"installed, with mistakes", s.installWithMistakes},
		{"with a tenant in the cluster", s.addVandelay},
		{"upgraded during a rotation", s.upgrade},
		{"upgraded in the wrong order", s.upgradeImageFirst},
		{"the operator is removed during a rotation", s.removeOperatorFirst},
		{"the kinds are removed first", s.removeKindsFirst},
		{"removed", s.uninstall},
		{"installed again", s.installAgain},
		{"the ledger is removed first", s.removeLedgerFirst},
		{"everything is removed during a rotation", s.removeAllAtOnce},
	} {
		if !t.Run(part.name, part.do) {
			t.FailNow()
		}
	}
}

func readInstallation(t *testing.T) *page {
	t.Helper()
	p := readPage(t, "README.md", "Install it", "The first rotation")
	p.steps = append(p.steps, readPage(t, "README.md", "The first rotation", "Day to day").steps...)
	return p
}

// image has the shell name a version of the image, and the cluster run a program for it.
func (s *site) image(t *testing.T, p *page, version, program string) {
	t.Helper()
	commands := strings.Replace(p.next(t, "1. The image"), ":v0.1.0", ":"+version, 1)
	require.Contains(t, commands, imageName+version)
	s.cluster.publish(digestOf(imageName+version), program)
	s.typed(t, commands, "")
}

func (s *site) installWithMistakes(t *testing.T) {
	p := readInstallation(t)
	s.image(t, p, "v0.1.0", filepath.Join(harness.Repository, "bin", "manager"))
	s.typed(t, p.next(t, "2. The operator"), "")
	require.Contains(t, s.typed(t, "kubectl -n tcred-system get deployment -o jsonpath='{..image}'", ""), "registry.example.com/tenant-credential-operator@"+digestOf(imageName+"v0.1.0"))

	for _, kept := range []string{"namespace/tcred-system", "crd/tenantcredentials.credentials.systemprompt.io", "crd/tenantenvironments.credentials.systemprompt.io"} {
		annotations := s.typed(t, "kubectl get "+kept+" -o jsonpath='{.metadata.annotations}'", "")
		require.Contains(t, annotations, `"kustomize.toolkit.fluxcd.io/prune":"disabled"`, "Flux would prune it")
		require.Contains(t, annotations, `"argocd.argoproj.io/sync-options":"Prune=false,Delete=false"`, "Argo CD would prune it")
	}

	s.writeFiles(t, s.operatorURL("mistyped", "127.0.0.1"), "not-a-token-of-any-organization")
	s.typed(t, p.next(t, "3. The Secrets"), "")
	s.typed(t, p.next(t, "4. The environment"), "")
	s.fillIn(t, "host: postgres://db", "organization: example-sandbx")
	require.Contains(t, s.refused(t, "kubectl apply -f install/environment.yaml"), "write a host name such as")
	s.fillIn(t, "host: 127.0.0.1", "organization: example-sandbx")
	s.typed(t, p.next(t, "4. The environment"), "")
	s.mistakeTheServer(t)
	s.mistakeTheLedger(t, p.next(t, "5. The ledger"))
	s.mistakeFly(t)
	require.Regexp(t, `sandbox +True`, s.typed(t, "kubectl get tenv sandbox", ""))
	s.mistakeTheNamespace(t, p)
	s.rotateFirst(t, p)
}

// writeFiles writes what the table of the README has a user write.
func (s *site) writeFiles(t *testing.T, url, token string) {
	t.Helper()
	for name, content := range map[string]string{"dba-url": s.dbaURL("platform"), "url": url, "token": token, "ca.crt": s.authority.Certificate} {
		s.write(t, name, content+"\n")
	}
}

// fillIn is the user's editor, on the copy of the sample.
func (s *site) fillIn(t *testing.T, host, organization string) {
	t.Helper()
	sample, err := os.ReadFile(filepath.Join(harness.Repository, "config", "samples", "environment.yaml"))
	require.NoError(t, err)
	changes := []string{
		"host: sp-postgres-sandbox.internal", host + "\n      port: " + strconv.Itoa(s.server.Port),
		"# caSecretRef:", "caSecretRef:", "#   name: postgres-sandbox-ca", "  name: postgres-sandbox-ca",
		"organization: example-sandbox", organization + "\n    apiURL: " + s.flyURL,
	}
	for i := 0; i < len(changes); i += 2 {
		require.Contains(t, string(sample), changes[i])
	}
	s.write(t, "environment.yaml", strings.NewReplacer(changes...).Replace(string(sample)))
}

// shown waits until the environment shows a reason, and returns the message.
func (s *site) shown(t *testing.T, reason string) string {
	t.Helper()
	s.typed(t, `kubectl wait tenv sandbox --timeout=60s --for=jsonpath='{.status.conditions[?(@.type=="Ready")].reason}'=`+reason, "")
	return s.typed(t, `kubectl get tenv sandbox -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}'`, "")
}

// obey runs the commands that a message names after "To fix: ", with a file of the folder install.
func (s *site) obey(t *testing.T, message, file string) {
	t.Helper()
	_, commands, found := strings.Cut(message, "To fix: ")
	require.True(t, found, message)
	s.typed(t, strings.ReplaceAll(strings.ReplaceAll(commands, "<file>", file), " and kubectl", "\nkubectl"), "")
}

// replace has a Secret hold a file of the folder install under the key that is named like the file.
func (s *site) replace(t *testing.T, secret, file string) {
	t.Helper()
	s.typed(t, "kubectl -n tcred-system create secret generic "+secret+" --from-file=install/"+file+" --dry-run=client -o yaml | kubectl apply -f -", "")
}

// mistakeTheServer: an authority that is not named, another one, a host that the certificate is not for, one that does not exist, a wrong port.
func (s *site) mistakeTheServer(t *testing.T) {
	s.typed(t, `kubectl patch tenv sandbox --type merge -p '{"spec":{"postgres":{"caSecretRef":null}}}'`, "")
	message := s.shown(t, "CertificateUntrusted")
	require.Contains(t, message, "x509: certificate signed by unknown authority")
	s.obey(t, message, "install/ca.crt") // a name of its own
	require.Contains(t, s.shown(t, "AuthenticationFailed"), "key url in Secret tcred-system/postgres-sandbox")

	s.write(t, "url", s.operatorURL(operatorPassword, "localhost")+"\n")
	s.replace(t, "postgres-sandbox", "url")
	require.Contains(t, s.shown(t, "CertificateMismatch"), "x509: ")
	s.write(t, "url", s.operatorURL(operatorPassword, "db.invalid")+"\n")
	s.replace(t, "postgres-sandbox", "url")
	require.Contains(t, s.shown(t, "HostNotFound"), "the name db.invalid does not resolve")
	s.write(t, "url", strings.Replace(s.operatorURL(operatorPassword, "127.0.0.1"), ":"+strconv.Itoa(s.server.Port), ":1", 1)+"\n")
	s.replace(t, "postgres-sandbox", "url")
	require.Contains(t, s.shown(t, "ConnectionRefused"), "127.0.0.1:1 refuses the connection")
	s.write(t, "url", s.operatorURL(operatorPassword, "127.0.0.1")+"\n")
	s.replace(t, "postgres-sandbox", "url")
	s.shown(t, "AuthenticationFailed") // there is no such login yet
}

// mistakeTheLedger: another database, a file with two documents, a column that there is not, a constraint on the hash, a login that there is not.
// Nothing is left of any.
func (s *site) mistakeTheLedger(t *testing.T, commands string) {
	login, rest, found := strings.Cut(commands, "\n")
	require.True(t, found)
	install, ready, found := strings.Cut(rest, "\n")
	require.True(t, found)
	require.Contains(t, s.refused(t, install), "Role tcred_operator, the operator's login, does not exist.")
	require.Equal(t, "0", s.one(t, "SELECT count(*)::text FROM pg_roles WHERE rolname LIKE 'tenant\\_credentials%'"))
	s.typed(t, login, operatorPassword+"\n"+operatorPassword+"\n")
	require.Contains(t, s.shown(t, "LedgerOutdated"), "The database has no ledger")

	s.write(t, "elsewhere", s.dbaURL("site_7dd06cd6"))
	require.Contains(t, s.refused(t, strings.Replace(install, "install/dba-url", "install/elsewhere", 1)), "Nothing was changed in database site_7dd06cd6, because")
	s.typed(t, "cat install/environment.yaml config/samples/tenants.yaml > install/several.yaml", "")
	require.Contains(t, s.refused(t, strings.Replace(install, "environment.yaml", "several.yaml", 1)), "and one TenantEnvironment is expected")
	s.typed(t, `sed 's/^  fly:/  management: {columns: {passwordHash: password}}\n  fly:/' install/environment.yaml > install/columns.yaml`, "")
	require.Contains(t, s.refused(t, strings.Replace(install, "environment.yaml", "columns.yaml", 1)), "Table management.tenants has no column password")
	s.sql(t, "platform", "ALTER TABLE management.tenants ADD CONSTRAINT bcrypt CHECK (password_hash LIKE '$2%') NOT VALID")
	said := s.refused(t, install)
	require.Contains(t, said, "constraint bcrypt does not let a SCRAM-SHA-256 verifier in")
	require.Equal(t, "0", s.one(t, "SELECT count(*)::text FROM pg_namespace WHERE nspname = 'tenant_credentials'"))
	_, fix, _ := strings.Cut(said, "(SQLSTATE 23514): ")
	fix, _, _ = strings.Cut(fix, ";")
	s.sql(t, "platform", fix)
	require.Contains(t, s.typed(t, install, ""), "The ledger of TenantEnvironment sandbox is installed in database platform")
	s.ready = ready
}

// mistakeFly: a token that Fly does not know, and an organization that the token is not of.
func (s *site) mistakeFly(t *testing.T) {
	require.Contains(t, s.shown(t, "AuthenticationFailed"), "key token in Secret tcred-system/fly-sandbox")
	s.write(t, "token", flyToken+"\n")
	s.replace(t, "fly-sandbox", "token")
	require.Contains(t, s.shown(t, "PermissionDenied"), "not of example-sandbx")
	s.fillIn(t, "host: 127.0.0.1", "organization: example-sandbox")
	s.typed(t, "kubectl apply -f install/environment.yaml", "")
	s.typed(t, s.ready, "")
}

// mistakeTheNamespace forgets the labels, one after the other.
func (s *site) mistakeTheNamespace(t *testing.T, p *page) {
	s.writeTenant(t)
	p.next(t, "The first rotation") // typed in parts here, and as a whole when all is installed again
	s.typed(t, "kubectl create namespace tenants-sandbox\nkubectl apply -f install/acme.yaml", "")
	_, label, found := strings.Cut(s.refusedBecause(t, "NamespaceNotAllowed"), "does not accept namespace tenants-sandbox; it accepts namespaces with ")
	require.True(t, found)
	label, _, _ = strings.Cut(label, ". ")
	s.typed(t, "kubectl label namespace tenants-sandbox "+label, "")
	_, command, found := strings.Cut(s.refusedBecause(t, "TenantNotBound"), "To fix, if the tenant belongs here: ")
	require.True(t, found)
	s.typed(t, command, "")
	s.typed(t, "kubectl -n tenants-sandbox wait tcred acme --for=condition=Ready --timeout=1m", "")
}

// refusedBecause waits until acme is not Ready for a reason, and returns the message.
func (s *site) refusedBecause(t *testing.T, reason string) string {
	t.Helper()
	s.typed(t, `kubectl -n tenants-sandbox wait tcred acme --timeout=60s --for=jsonpath='{.status.conditions[?(@.type=="Ready")].reason}'=`+reason, "")
	return s.typed(t, `kubectl -n tenants-sandbox get tcred acme -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}'`, "")
}

// writeTenant writes the manifest at the top of the README.
func (s *site) writeTenant(t *testing.T) {
	t.Helper()
	manifest := ""
	require.NoError(t, literate.Read(filepath.Join(harness.Repository, "README.md"), func(string) {}, func(language, text string) {
		if language == "yaml" && manifest == "" {
			manifest = text
		}
	}))
	require.Contains(t, manifest, acmeID)
	s.write(t, "acme.yaml", manifest)
}

// rotateFirst ends the page.
func (s *site) rotateFirst(t *testing.T, p *page) {
	before := s.flyValue(t)
	said := s.typed(t, p.next(t, "The first rotation"), "")
	require.Regexp(t, `acme .*True`, said)
	p.requireDone(t)
	require.NotEqual(t, before, s.flyValue(t))
	s.requireLogin(t, s.flyValue(t))
	require.Equal(t, "1 completed", s.rotations(t))
}

// installAgain types the page without a mistake. The README has its duration.
func (s *site) installAgain(t *testing.T) {
	p := readInstallation(t)
	s.typed(t, "rm -r install", "")
	s.image(t, p, "v0.1.0", filepath.Join(harness.Repository, "bin", "manager"))
	begun := time.Now()
	s.typed(t, p.next(t, "2. The operator"), "")
	s.writeFiles(t, s.operatorURL(operatorPassword, "127.0.0.1"), flyToken)
	s.typed(t, p.next(t, "3. The Secrets"), "")
	s.typed(t, p.next(t, "4. The environment"), "")
	s.fillIn(t, "host: 127.0.0.1", "organization: example-sandbox")
	s.typed(t, p.next(t, "4. The environment"), "")
	s.typed(t, p.next(t, "5. The ledger"), operatorPassword+"\n"+operatorPassword+"\n")
	s.writeTenant(t)
	s.typed(t, p.next(t, "The first rotation"), "")
	installed := time.Now()
	s.rotateFirst(t, p)
	t.Logf("from an empty cluster to a tenant that is adopted: %.0f s; the first rotation: %.0f s", installed.Sub(begun).Seconds(), time.Since(installed).Seconds())
}

// addVandelay adds a tenant whose application runs in the cluster, as docs/connection-secret.md says.
func (s *site) addVandelay(t *testing.T) {
	s.typed(t, `kubectl apply -k config/components/connection-secret
kubectl -n tenants-sandbox apply -k config/components/connection-secret/namespace
kubectl label namespace tenants-sandbox tenant.credentials.systemprompt.io/`+vandelayID+`=allowed
kubectl -n tenants-sandbox create -f - <<YAML
apiVersion: credentials.systemprompt.io/v1alpha1
kind: TenantCredential
metadata: {name: vandelay}
spec: {tenantID: `+vandelayID+`, environmentRef: {name: sandbox}, rotationGeneration: 0, delivery: {connectionSecret: {name: vandelay-db}}}
YAML`, "")
	s.rotateVandelay(t)
}

// rotateVandelay rotates it once more.
func (s *site) rotateVandelay(t *testing.T) {
	t.Helper()
	s.raise(t, "vandelay")
	s.typed(t, "kubectl -n tenants-sandbox wait tcred vandelay --for=condition=Ready --timeout=2m", "")
	s.requireLogin(t, s.vandelayValue(t))
}

// vandelayValue is the URL in its Secret.
func (s *site) vandelayValue(t *testing.T) string {
	t.Helper()
	return s.typed(t, "kubectl -n tenants-sandbox get secret vandelay-db -o jsonpath='{.data.url}' | base64 -d", "")
}
