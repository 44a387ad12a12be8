package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

const requires = "tenant_credentials_external"

// The rules of pg_hba.conf, and what the survey says of them; {E} is the example, {R} the reload.
var problems = []struct{ name, rules, says string }{
	{"required", insideRule + outsideRule, ""},
	{"required of every address", insideRule + "hostssl all +" + requires + " all scram-sha-256\n", ""},
	{"an inside of many addresses", "host all all 10.0.0.0/8 scram-sha-256\nhost all all samenet scram-sha-256\nlocal all all scram-sha-256\nhost all all db.example.com scram-sha-256\nhost all all ::1/128 scram-sha-256\n" + outsideRule, ""},
	{"no TLS, no login", "hostnossl all all 0.0.0.0/0 reject\n" + outsideRule + "host all all all reject\n", ""},
	{"some roles from everywhere", "hostssl all dba 0.0.0.0/0 scram-sha-256\nhostssl platform all 0.0.0.0/0 scram-sha-256\n" + outsideRule, ""},
	{"no rule", insideRule, "pg_hba.conf has no hostssl rule that requires tenant_credentials_external. The membership lets no login in. To fix: add to pg_hba.conf, below the rules for connections from inside: {E}; and {R}."},
	{"a rule without TLS", insideRule + "host all +" + requires + " 0.0.0.0/0 scram-sha-256\n", "pg_hba.conf has no hostssl rule that requires tenant_credentials_external. The membership lets no login in. To fix: add to pg_hba.conf, below the rules for connections from inside: {E}; and {R}."},
	{"a rule that refuses", insideRule + "hostssl all +" + requires + " 0.0.0.0/0 reject\n", "pg_hba.conf has no hostssl rule that requires tenant_credentials_external. The membership lets no login in. To fix: add to pg_hba.conf, below the rules for connections from inside: {E}; and {R}."},
	{"everybody before", "host all all 0.0.0.0/0 scram-sha-256\n" + outsideRule, "Line 1 of {F} is for every role, and covers the addresses of line 2, which requires tenant_credentials_external. The membership makes no difference. To fix: restrict line 1 to connections from inside, and {R}."},
	{"everybody afterwards", outsideRule + insideRule + "hostssl all all all scram-sha-256\n", "Line 3 of {F} is for every role, and covers the addresses of line 1, which requires tenant_credentials_external. The membership makes no difference. To fix: restrict line 3 to connections from inside, and {R}."},
	{"everybody of a wider net", "hostssl all +" + requires + " 203.0.113.0/24 scram-sha-256\nhost all all 203.0.0.0/16 scram-sha-256\n", "Line 2 of {F} is for every role, and covers the addresses of line 1, which requires tenant_credentials_external. The membership makes no difference. To fix: restrict line 2 to connections from inside, and {R}."},
	{"no rule before", "host all all all reject\n" + outsideRule, "Line 1 of {F} is for every role, and covers the addresses of line 2, which requires tenant_credentials_external. The membership makes no difference. To fix: restrict line 1 to connections from inside, and {R}."},
	{"an error", insideRule + "host all all 10.0.0.0/99 scram-sha-256\n" + outsideRule, "Line 2 of {F} has an error (invalid CIDR mask in address \"10.0.0.0/99\"). PostgreSQL does not use the rule, or does not load the file. To fix: correct the line, and {R}."},
}

func TestRulesThatDoNotRequireTheGroup(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		file := "pg_hba.conf"
		if f.version != "15" {
			file = filepath.Join(f.pg.DataDir(), file)
		}
		expand := strings.NewReplacer("{E}", strings.TrimSpace(outsideRule), "{R}", "SELECT pg_reload_conf()", "{F}", file).Replace
		for _, p := range problems {
			f.rulesAre(p.rules)
			survey, err := f.server.Survey(t.Context())
			require.NoError(t, err, p.name)
			require.Equal(t, expand(p.says), survey.ExternalProblem, p.name)
		}
		path := filepath.Join(f.pg.DataDir(), "pg_hba.conf")
		require.NoError(t, os.Rename(path, path+".away"))
		survey, err := f.server.Survey(t.Context())
		require.NoError(t, os.Rename(path+".away", path))
		require.NoError(t, err)
		require.Contains(t, survey.ExternalProblem, "pg_hba.conf cannot be read (SQLSTATE 58P01)")
	})
	t.Run("without TLS", func(t *testing.T) {
		f := newFixture(t, "18")
		survey, err := f.server.Survey(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, survey.ExternalProblem)
	})
}

// The rules of pg_hba.conf, and whether a session of the tenant from 127.0.0.1 without TLS, and one from 127.0.0.2 with it, counts as from outside;
// {T} is the tenant's role, {D} its database, {G} a group of its.
var origins = []struct {
	name, rules    string
	plain, secured bool
}{
	{"as they came", insideRule + outsideRule, false, true},
	{"the first rule counts", "hostssl all all 127.0.0.2/32 scram-sha-256\n" + insideRule + outsideRule, false, false},
	{"the first rule counts, the other way round", outsideRule + insideRule + "host all all all scram-sha-256\n", false, true},
	{"a rule for TLS alone", "hostssl all all 127.0.0.0/8 scram-sha-256\nhost all +" + requires + " all scram-sha-256\n", true, false},
	{"a rule for no TLS", "hostnossl all all all scram-sha-256\n" + outsideRule, false, true},
	{"GSS", "hostgssenc all all all gss\nhostnogssenc all all 127.0.0.1 255.255.255.255 scram-sha-256\n" + outsideRule, false, true},
	{"by name", "host all {T} all scram-sha-256\n" + outsideRule, false, false},
	{"by another name", "host all {T}_b all scram-sha-256\n" + outsideRule, true, true},
	{"by a group", "host all +{G} all scram-sha-256\n" + outsideRule, false, false},
	{"by a group that is missing", "host all +nowhere all scram-sha-256\n" + insideRule + outsideRule, false, true},
	{"by name and by the group", "host all +" + requires + ",{T} 127.0.0.1/32 scram-sha-256\n" + outsideRule, false, true},
	{"by database", "host {D} all all scram-sha-256\n" + outsideRule, false, false},
	{"by another database", "host postgres,sameuser,samerole,replication all all scram-sha-256\n" + insideRule + outsideRule, false, true},
	{"another family", "host all all ::/0 scram-sha-256\n" + insideRule + outsideRule, false, true},
	{"a socket", "local all all scram-sha-256\n" + insideRule + outsideRule, false, true},
	{"in doubt: a host name", "host all all localhost scram-sha-256\n" + outsideRule, true, true},
	{"in doubt: samehost", "host all all samehost scram-sha-256\n" + outsideRule, true, true},
	{"in doubt: the group at a host name", "host all +" + requires + " localhost scram-sha-256\n" + insideRule, true, true},
	{"in doubt: refused now", "host all all all reject\n", true, true},
	{"in doubt: no rule", "local all all scram-sha-256\n", true, true},
	{"in doubt: an error", "host all all 127.0.0.0/99 scram-sha-256\n" + insideRule + outsideRule, false, true},
}

func TestWhichSessionsCameFromOutside(t *testing.T) {
	onEachOpenServer(t, func(t *testing.T, f *fixture) {
		id, role := f.adoptedTenant()
		f.password(role)
		group := "group_" + role[len(f.prefix):]
		f.exec("create role " + group + "; grant " + group + " to " + role)
		defer f.exec("drop role " + group)
		f.setExternal(id, true)
		plain, secured := f.loginFrom(role, inside), f.loginFrom(role, outside)
		expand := strings.NewReplacer("{T}", role, "{D}", f.database, "{G}", group).Replace
		count := func(session *pgx.Conn) bool {
			return one[bool](f, "select $1 in (select o from tenant_credentials.outside_sessions(array[$2::text::regrole::oid]) o)", int(session.PgConn().PID()), role)
		}
		for _, o := range origins {
			f.rulesAre(expand(o.rules))
			require.Equal(t, o.plain, count(plain), "%s: from inside", o.name)
			require.Equal(t, o.secured, count(secured), "%s: from outside", o.name)
		}
		if f.version == "15" {
			return // which has no regular expressions
		}
		f.rulesAre(expand("host all /^tenant all scram-sha-256\nhost /. all all scram-sha-256\n" + insideRule + outsideRule))
		require.False(t, count(plain))
		require.True(t, count(secured))
		f.rulesAre(expand("host /. +" + requires + " all scram-sha-256\n" + insideRule))
		require.True(t, count(plain), "in doubt")
	})
}
