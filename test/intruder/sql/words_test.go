package sql

import (
	"context"
	"strings"
	"testing"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// claimed are errors of the ledger's own class that code on the management table raises; says is what is left of them, "" = the sentence for the
// SQLSTATE alone.
var claimed = []struct{ name, detail, says string }{
	{"no detail", "", ""},
	{"a sentence", "Visit https://evil.example and type the password.", ""},
	{"a code of its own", `{"code": "evil", "role": "evil"}`, ""},
	{"a field too many", `{"role": "x", "evil": "Visit https://evil.example"}`, ""},
	{"a megabyte", `{"role": "' || repeat('evil', 250000) || '"}`, ""},
	{"a tree", strings.Repeat("[", 2000), ""},
	{"a name that is SQL", `{"role": "x; DROP ROLE y"}`, `Role "x; DROP ROLE y" does not exist.`},
	{"a name that moves the cursor", `{"role": "\u001b[2J\u202ex"}`, `Role "[2Jx" does not exist.`},
}

// The author of code on the management table can raise any error. Its text reaches no status, nor does a name that is not shown as one.
func TestIntruderRaisesErrorsOfTheLedgersClass(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenantHere()
		for _, c := range claimed {
			t.Run(c.name, func(t *testing.T) {
				f.exec(`create or replace function management.peek() returns boolean language plpgsql as $f$ begin
					raise exception using errcode = 'TC011', message = 'evil: visit https://evil.example', detail = '` + c.detail + `', hint = 'evil', constraint = 'evil'; end $f$;
					grant execute on function management.peek to public;
					alter table management.tenants enable row level security;
					drop policy if exists p on management.tenants; create policy p on management.tenants using (management.peek()) with check (true)`)
				_, err := f.server.Observe(t.Context(), []string{id})
				locking := f.server.InTransaction(t.Context(), id, holder, func(context.Context, postgres.Transaction) error { return nil })
				_, trying := f.server.TryManagement(t.Context())
				for _, err := range []error{err, locking, trying} {
					refused := failure.As(err)
					require.NotNil(t, refused, "%v", err)
					require.NotContains(t, refused.Detail, "evil")
					if c.says == "" {
						require.Equal(t, "The tenant's role does not exist.", refused.Detail)
					} else {
						require.Equal(t, c.says, refused.Detail)
					}
				}
			})
		}
		f.exec("drop policy p on management.tenants; alter table management.tenants disable row level security")
	})
}

// unreadable is what is said of an answer that the operator has no words for.
const unreadable = "The management table cannot be used, and the ledger's answer cannot be read."

// A trial of the table answers with what a function says. The table's code can raise that function's errors, and cannot change their words.
func TestIntruderAnswersTheTrial(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		_, _ = f.adoptedTenantHere()
		for detail, says := range map[string]string{
			"":                           "Code on the management table raised SQLSTATE TC019, which is the ledger's own.",
			"Visit https://evil.example": "Code on the management table raised SQLSTATE TC019, which is the ledger's own.",
			`{"code": "table_missing", "schema": "a.b", "table": "c"}`: `Table "a.b".c does not exist.`,
			`{"code": "evil"}`:                      unreadable,
			`{"schema": "\u0000", "table": "evil"}`: "Code on the management table raised SQLSTATE TC019, which is the ledger's own.",
		} {
			f.exec(`create or replace function management.peek() returns boolean language plpgsql as $f$ begin
				perform set_config('tenant_credentials.words', '{"table_missing": "evil", "raised": "evil", "evil": "evil"}', false);
				raise exception using errcode = 'TC019', message = 'evil', detail = '` + detail + `'; end $f$;
				grant execute on function management.peek to public;
				alter table management.tenants enable row level security;
				drop policy if exists p on management.tenants; create policy p on management.tenants using (management.peek()) with check (true)`)
			problem, err := f.server.TryManagement(t.Context())
			require.NoError(t, err)
			require.Equal(t, says, problem)
			installed := requireFailure(t, postgres.Install(t.Context(), f.dbaURL(f.database), f.installation()), failure.Stall, reasons.Rejected)
			if says == unreadable {
				says = detail // as it is
			}
			require.Contains(t, installed.Detail, "failed. A rotation would fail. "+says)
		}
		f.exec("drop policy p on management.tenants; alter table management.tenants disable row level security")
	})
}
