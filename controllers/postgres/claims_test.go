package postgres

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

func TestAdoptionByAnother(t *testing.T) {
	cases := []struct {
		name    string
		change  func(*Adoption)
		allowed bool
	}{
		{"same cluster, holder not known to be gone", func(*Adoption) {}, false},
		{"same cluster, another object is gone", func(a *Adoption) { a.ReplacesUID = "another" }, false},
		{"same cluster, holder is gone", func(a *Adoption) { a.ReplacesUID = "uid" }, true},
		{"same cluster, take-over does not help", func(a *Adoption) { a.TakeOverFrom = "c1" }, false},
		{"other cluster", func(a *Adoption) { a.Cluster = "c2" }, false},
		{"other cluster cannot see that the holder is gone", func(a *Adoption) { a.Cluster = "c2"; a.ReplacesUID = "uid" }, false},
		{"other cluster, take-over from a third", func(a *Adoption) { a.Cluster = "c2"; a.TakeOverFrom = "c3" }, false},
		{"other cluster takes over", func(a *Adoption) { a.Cluster = "c2"; a.TakeOverFrom = "c1" }, true},
	}
	onEachVersion(t, func(t *testing.T, f *fixture) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				id, _ := f.adoptedTenant()
				before := f.observe(id)
				a := adoptionOf(id, "other")
				a.Name = "another"
				c.change(&a)
				adopted, err := f.server.Adopt(t.Context(), a)
				if c.allowed {
					require.NoError(t, err)
					require.Equal(t, "other", adopted.Claim.UID)
					require.Equal(t, adopted.Claim, f.observe(id).Claim)
					require.Equal(t, 2, one[int](f, "select count(*) from tenant_credentials.adoptions where tenant_id = $1", id))
					_, err = f.server.OpenRotation(t.Context(), Opening{TenantID: id, UID: "uid"})
					requireFailure(t, err, failure.Stall, reasons.OwnershipConflict)
					return
				}
				e := requireFailure(t, err, failure.Stall, reasons.OwnershipConflict)
				require.Equal(t, "The tenant is held by TenantCredential tenants/acme of environment sandbox in cluster c1.", e.Detail)
				requireSame(t, before, f.observe(id))
			})
		}
	})
}

func TestOwnAdoptionAgainChangesNothing(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		before := f.observe(id)
		a := adoptionOf(id, "uid")
		a.Name = "renamed"
		f.exec("alter role " + role + " createdb") // the guard's verdict does not matter now
		adopted, err := f.server.Adopt(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, before.Claim, adopted.Claim)
		f.exec("alter role " + role + " nocreatedb")
		requireSame(t, before, f.observe(id))
	})
}

func TestGenerationOfAnObjectMadeAgain(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, _ := f.adoptedTenant()
		f.open(id, 3)
		f.rotate(id, 1)
		require.NoError(t, f.complete(t.Context(), id, "uid", 1))
		require.Equal(t, int64(3), f.observe(id).Claim.Generation)

		for _, made := range []struct{ uid, replaces string }{{"second", "uid"}, {"third", "second"}} {
			a := adoptionOf(id, made.uid)
			a.ReplacesUID = made.replaces
			adopted, err := f.server.Adopt(t.Context(), a)
			require.NoError(t, err)
			require.Equal(t, int64(3), adopted.Claim.Generation, "what is done stays done, whichever object asks")
		}
	})
}

func TestTwoTenantsWithOneName(t *testing.T) {
	cases := []struct {
		name, mend, says string
	}{
		{"role", "db_role", "Give this one another name in column db_role of management.tenants."},
		{"app", "fly_app", "Give this one another name in column fly_app of management.tenants."},
	}
	onEachVersion(t, func(t *testing.T, f *fixture) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				first, role := f.adoptedTenant()
				second := first[:8] + uuid.NewString()[8:]
				f.exec("insert into management.tenants (id, password_hash, db_role, db_name, fly_app) values ($1, 'x', null, $2, 'sp-own')", second, f.database)
				if c.name == "app" {
					_, other := f.newTenant()
					f.exec("update management.tenants set db_role = $2, fly_app = null where id = $1", second, other)
				}
				_, err := f.server.Adopt(t.Context(), adoptionOf(second, "other"))
				e := requireFailure(t, err, failure.Stall, reasons.NameConflict)
				require.Contains(t, e.Detail, first)
				require.Contains(t, e.Detail, c.says)

				_, other := f.newTenant()
				f.exec("update management.tenants set db_role = $2, fly_app = $3 where id = $1", second, other, "sp-"+c.name)
				_, err = f.server.Adopt(t.Context(), adoptionOf(second, "other"))
				require.NoError(t, err)
				require.NotEqual(t, role, f.observe(second).Role)
			})
		}
	})
}

func TestNameConflictWithoutOverrideColumn(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		i := f.installation()
		i.Settings.ColumnRole = ""
		require.NoError(t, Install(t.Context(), f.dbaURL(), i))
		first, _ := f.adoptedTenant()
		second := first[:8] + uuid.NewString()[8:]
		f.exec("insert into management.tenants (id, password_hash, db_name) values ($1, 'x', $2)", second, f.database)
		_, err := f.server.Adopt(t.Context(), adoptionOf(second, "other"))
		e := requireFailure(t, err, failure.Stall, reasons.NameConflict)
		require.Contains(t, e.Detail, "spec.management.columns.role")
	})
}

func TestAdoptionOfWhatIsNotThere(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id := uuid.NewString()
		_, err := f.server.Adopt(t.Context(), adoptionOf(id, "uid"))
		requireFailure(t, err, failure.Wait, reasons.TenantNotFound)
		f.exec("insert into management.tenants (id, password_hash) values ($1, 'x')", id)
		_, err = f.server.Adopt(t.Context(), adoptionOf(id, "uid"))
		requireFailure(t, err, failure.Wait, reasons.RoleNotFound)
		_, err = f.server.OpenRotation(t.Context(), Opening{TenantID: id, UID: "uid"})
		requireFailure(t, err, failure.Retry, reasons.Superseded)
	})
}

func TestNamesThatThePlatformChangesAreTakenOver(t *testing.T) {
	onEachVersion(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		_, other := f.newTenant()
		f.exec("update management.tenants set db_role = $2 where id = $1", id, other)
		f.open(id, 1)
		password := f.rotate(id, 1)
		require.NoError(t, f.server.VerifyLogin(t.Context(), Login{Name: other, Role: other, Database: f.database, Password: password}))
		requireFailure(t, f.server.VerifyLogin(t.Context(), Login{Name: role, Role: role, Database: f.database, Password: password}), failure.Retry, reasons.VerificationFailed)
	})
}
