package postgres

import (
	"encoding/json"
	"maps"
)

// The words for what the SQL functions say, by the code of their detail; an SQLSTATE where it has one cause. {name} stands for a field of the detail:
// as text; {name:I} as an identifier, or a list of them; {name:L} as a literal; {name:W} as it is, where it is one word; {name:O} for words with "or"
// between them. A sentence may be changed here without a migration.
var words = merged(refusalWords, roleWords(), tableWords, hbaWords)

func merged(tables ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, table := range tables {
		maps.Copy(all, table)
	}
	return all
}

// refusalWords are those of the steps of a rotation.
var refusalWords = map[string]string{
	"TC001":      "The isolation level has to be read committed, it is {level}.",
	"begun_with": "What a rotation was begun with cannot be changed.",
	"transition": "A rotation cannot go from state {from:L} to {to:L}.",
	"TC004":      "Rows of {table:I} are never deleted.",
	"TC011":      "Role {role:I} does not exist.",

	"role_taken": "Tenant {tenant} has the role {name:I} already. Give this one another name in column {column:I} of {schema:I}.{table:I}.",
	"app_taken":  "Tenant {tenant} has the app {name:I} already. Give this one another name in column {column:I} of {schema:I}.{table:I}.",
	"role_without_column": "Tenant {tenant} has the role {name:I} already. Name a column of {schema:I}.{table:I} for it: spec.management.columns.role, " +
		"and manager install-sql.",
	"app_without_column": "Tenant {tenant} has the app {name:I} already. Name a column of {schema:I}.{table:I} for it: spec.management.columns.flyApp, " +
		"and manager install-sql.",
	"TC014": "The tenant is held by TenantCredential {namespace}/{name} of environment {environment} in cluster {cluster}.",

	"not_adopted":         "No object has adopted the tenant.",
	"adopted_meanwhile":   "Another object has adopted the tenant at the same moment.",
	"committed_meanwhile": "Another rotation was committed in between.",
	"no_revision":         "Revision {revision:W} is not in the ledger, not {expected:O}.",
	"state":               "Revision {revision:W} is {state:W}, not {expected:O}.",
	"role_changed":        "The tenant's role has changed: lock first.",
	"logins_closed":       "The tenant's logins are closed, so there is none in use to overlap with.",
	"moving":              "The consumers are being moved from one login to the other.",
	"not_closed":          "Sessions or logins of before revision {revision:W} may be left: close says when not.",
	"not_issued":          "The password of {login:I} is not the one that was issued: issue again.",
	"login_unchecked":     "No login with the password of revision {revision:W} has succeeded: login_checked says when.",
	"login_open":          "The previous login of revision {revision:W} can still be used: retire says when not.",
	"password_changed":    "The password of {login:I} is not the one of revision {revision:W}.",
	"sessions_left":       "Sessions of before revision {revision:W} may still be there: end_sessions says when not.",
	"verifier_null":       "The verifier is NULL.",
	"TC026":               "Revision {revision:W} is not one that a status can have seen: 0 to 1000000000.",
	"TC022": "Role {role:I} is locked, and {owner:I} has the prepared transaction {gid:L} in database {database:I}, which holds its locks until it is " +
		"ended: ROLLBACK PREPARED {gid:L}",

	"not_configured": "The ledger is not configured: " + installHint + ".",
	"no_group":       "Role tenant_credentials_external does not exist: " + installHint + ".",
}

// roleWords are those of the role guard, and of what keeps a login from its use. Each ends with the SQL that fixes it, without a full stop.
func roleWords() map[string]string {
	all := map[string]string{
		"attribute": "Role {role:I} has the attribute {attribute:W}: ALTER ROLE {role:I} NO{attribute:W}",
		"prefix":    "Role {role:I} does not begin with {prefix:L}, so it is not a tenant's: ALTER ROLE {role:I} RENAME TO {renamed:I}",
		"no_admin":  "Role {role:I} cannot be changed by {owner:I}: GRANT {role:I} TO {owner:I} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
		"copies": "Table {schema:I}.{table:I} has {rows:W} rows for the tenant. Delete all but one, and so that it stays so: " +
			"ALTER TABLE {schema:I}.{table:I} ADD PRIMARY KEY ({column:I})",

		"no_login":               "Role {role:I} may not log in: ALTER ROLE {role:I} LOGIN",
		"no_connection":          "Role {role:I} may have no connection: ALTER ROLE {role:I} CONNECTION LIMIT -1",
		"expired":                "Role {role:I} has expired: ALTER ROLE {role:I} VALID UNTIL 'infinity'",
		"no_connect":             "Role {role:I} may not connect to its database: GRANT CONNECT ON DATABASE {database:I} TO {role:I}",
		"database_missing":       "Role {role:I} has no database {database:I}: CREATE DATABASE {database:I} OWNER {role:I}",
		"database_closed":        "Role {role:I} has a database that accepts no connections: ALTER DATABASE {database:I} ALLOW_CONNECTIONS true",
		"database_dropped":       "Role {role:I} has a database that was dropped halfway: DROP DATABASE {database:I}",
		"database_no_connection": "Role {role:I} has a database that may have no connection: ALTER DATABASE {database:I} CONNECTION LIMIT -1",

		"second_missing":  "Role {role:I} has no second login {second:I}: SELECT tenant_credentials.prepare_overlap({role:L})",
		"second_settings": "Role {second:I} does not act as {role:I} any more: SELECT tenant_credentials.prepare_overlap({role:L})",
		"second_claimed":  "Role {second:I}, the second login of {role:I}, is the role of tenant {tenant}",
		"second_member":   "Role {second:I} is a member of {group:I}, and not of {role:I} alone: REVOKE {group:I} FROM {second:I}",

		"external_member": "Role {role:I} is a member of tenant_credentials_external by a grant of another role, so that it has external access: " +
			"REVOKE {through:I} FROM {role:I}",
		"external_member_granted": "Role {role:I} is a member of tenant_credentials_external by a grant of another role, so that it has external access: " +
			"REVOKE {through:I} FROM {role:I} GRANTED BY {granter:I}",
	}
	for code, has := range map[string]string{
		"operator":       "may call the operator's functions",
		"ledger":         "belongs to the ledger",
		"database_owner": "owns the ledger's database {database:I}",
		"schema_owner":   "owns schema {schema:I}",
		"table_owner":    "owns table {schema:I}.{table:I}",
	} {
		all["role_"+code] = "Role {role:I} " + has + ", so it is not a tenant's: name the tenant's role in the management table"
		all["second_"+code] = "Role {role:I} " + has
	}
	for code, is := range map[string]string{
		"attribute":  "which has the attribute {attribute:W}",
		"operator":   "which belongs to the operator",
		"admin":      "which it may give to other roles",
		"predefined": "a predefined role that is not in tenant_credentials.settings.allowed_predefined_roles",
		"tenant":     "which is another tenant's",
	} {
		all["member_"+code] = "Role {role:I} is a member of {group:I}, " + is + ": REVOKE {through:I} FROM {role:I}"
	}
	return all
}

const refusedHash = "Table {schema:I}.{table:I} refused the new hash: "

// tableWords are those of a management table that a rotation cannot work with. An installation says them, too, with the SQL function worded, which knows
// I, L and W, and takes the rest for text.
var tableWords = map[string]string{
	"TC024":         "Code on table {schema:I}.{table:I} has left a cursor WITH HOLD, which would run with the rights of the operator's login.",
	"rows":          "Table {schema:I}.{table:I} has {rows:W} rows for the tenant, or keeps its hash from being written.",
	"hash_not_kept": "The management table does not keep the hash that is written (a trigger, or a limit).",
	"raised":        "Code on the management table raised SQLSTATE {sqlstate:W}, which is the ledger's own.",

	"refused":          refusedHash + "SQLSTATE {sqlstate:W}.",
	"refused_function": refusedHash + "SQLSTATE {sqlstate:W} of function {function:L}, which a trigger of the table calls.",
	"refused_function_right": refusedHash + "function {function:L}, which a trigger of the table calls, lacks a right. It runs as tenant_credentials_hash: " +
		"GRANT that role what the function uses.",
	"refused_right": refusedHash + "tenant_credentials_hash may not write the row (SQLSTATE 42501). Run manager install-sql again or, where it is row security: " +
		"CREATE POLICY tenant_credentials ON {schema:I}.{table:I} TO tenant_credentials_hash USING (true).",
	"refused_constraint": refusedHash + "constraint {constraint:I} does not let a SCRAM-SHA-256 verifier in (SQLSTATE {sqlstate:W}): " +
		"ALTER TABLE {schema:I}.{table:I} DROP CONSTRAINT {constraint:I}; or name another column in spec.management.columns.passwordHash.",
	"refused_length": refusedHash + "column {column:I} is too short for a SCRAM-SHA-256 verifier: ALTER TABLE {schema:I}.{table:I} ALTER COLUMN {column:I} TYPE text.",
	"refused_type":   refusedHash + "column {column:I} has another type: ALTER TABLE {schema:I}.{table:I} ALTER COLUMN {column:I} TYPE text.",
	"refused_update": refusedHash + "it cannot be updated (SQLSTATE 55000). Where it is published: ALTER TABLE {schema:I}.{table:I} REPLICA IDENTITY FULL.",

	"table_missing":   "Table {schema:I}.{table:I} does not exist.",
	"columns_missing": "Table {schema:I}.{table:I} has no column {columns:I}: name those that it has in spec.management.columns, and run manager install-sql.",
	"id_type":         "Column {column:I} of {schema:I}.{table:I} is of type {type}, and the tenants' IDs are UUIDs, as uuid or text.",
	"hash_type": "Column {column:I} of {schema:I}.{table:I} is of type {type}, and a SCRAM-SHA-256 verifier is a text of 133 characters: " +
		"ALTER TABLE {schema:I}.{table:I} ALTER COLUMN {column:I} TYPE text.",
	"not_updatable": "Relation {schema:I}.{table:I} cannot be updated: name the table itself in spec.management, or give the view an INSTEAD OF UPDATE trigger.",
	"not_lockable":  "Relation {schema:I}.{table:I} cannot be locked row by row (SQLSTATE {sqlstate:W}): name the table itself in spec.management.",
	"row_security": "Row security hides table {schema:I}.{table:I} from the operator: " +
		"CREATE POLICY tenant_credentials ON {schema:I}.{table:I} TO tenant_credentials_hash USING (true).",
	"no_user_mapping": "Table {schema:I}.{table:I} is on another server, and tenant_credentials_hash has no login there: " +
		"CREATE USER MAPPING FOR tenant_credentials_hash SERVER {server:I} OPTIONS (…).",
	"no_replica_identity": "Table {schema:I}.{table:I} is published and has no replica identity, so it cannot be updated: " +
		"ALTER TABLE {schema:I}.{table:I} ADD PRIMARY KEY ({column:I}), or REPLICA IDENTITY FULL.",
}

const (
	exampleRule = "hostssl all +tenant_credentials_external 0.0.0.0/0 scram-sha-256"
	reload      = "SELECT pg_reload_conf()"
)

// hbaWords are those of a pg_hba.conf that does not make the group of external access count.
var hbaWords = map[string]string{
	"hba_no_group": "Role tenant_credentials_external does not exist. No login is let in from outside because of it. To fix: run manager install-sql.",
	"hba_error": "Line {line:W} of {file} has an error ({error}). PostgreSQL does not use the rule, or does not load the file. " +
		"To fix: correct the line, and " + reload + ".",
	"hba_no_rule": "pg_hba.conf has no hostssl rule that requires tenant_credentials_external. The membership lets no login in. " +
		"To fix: add to pg_hba.conf, below the rules for connections from inside: " + exampleRule + "; and " + reload + ".",
	"hba_for_all": "Line {line:W} of {file} is for every role, and covers the addresses of line {required:W}, which requires tenant_credentials_external. " +
		"The membership makes no difference. To fix: restrict line {line:W} to connections from inside, and " + reload + ".",
	"hba_unreadable": "pg_hba.conf cannot be read (SQLSTATE {sqlstate:W}). It is not known whether it requires tenant_credentials_external. " +
		"To fix: give the server's account the right to read the file.",
}

// installWords hands the words of tableWords to the SQL function worded, for the rest of the transaction: an installation that fails says them also in psql.
func installWords() string {
	content, err := json.Marshal(tableWords)
	if err != nil {
		panic(err) // strings can be marshalled
	}
	return "\nselect set_config('tenant_credentials.words', " + Literal(string(content)) + ", true);\n"
}

// What is said of a fault that cannot be worded: the ledger is of another version, or a name in it is not one.
const (
	unsaidRole   = "The role guard does not allow the tenant's role, and its answer cannot be read"
	unsaidLogin  = "The tenant's login cannot be used, and the ledger's answer cannot be read"
	unsaidSecond = "The tenant's role has no second login that can be used, and the ledger's answer cannot be read"
	unsaidTable  = "The management table cannot be used, and the ledger's answer cannot be read."
	unsaidRules  = "pg_hba.conf does not make the group of external access count, and the ledger's answer cannot be read."
)

// said is the sentence for a fault that an SQL function answers with; "" = there is none. One that cannot be worded is a fault still.
func said(fault []byte, otherwise string) string {
	if fault == nil {
		return ""
	}
	if sentence, ok := worded("", fault); ok {
		return sentence
	}
	return otherwise
}
