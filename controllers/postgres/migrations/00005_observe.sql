-- +goose Up
set local role tenant_credentials_owner;

-- +goose StatementBegin
create function tenant_credentials.claim_json(c tenant_credentials.claims) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return (
    select jsonb_build_object(
      'uid', c.uid, 'cluster', c.cluster, 'environment', c.environment, 'namespace', c.namespace, 'name', c.name,
      'generation', c.generation, 'verifierDigest', encode(c.verifier_digest, 'hex'), 'hashDigest', encode(c.hash_digest, 'hex'),
      'adoptedAt', c.adopted_at)
     where c.tenant_id is not null
  );
end
$$;

create function tenant_credentials.rotation_json(r tenant_credentials.rotations) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return (
    select jsonb_build_object(
      'revision', r.revision, 'state', r.state, 'generation', r.generation, 'cause', r.cause,
      'reason', r.reason, 'requestedBy', r.requested_by, 'requestID', r.request_id, 'statedManager', r.stated_manager,
      'login', r.login, 'verifierDigest', encode(r.verifier_digest, 'hex'), 'hashDigest', encode(r.hash_digest, 'hex'),
      'deliveryDigest', encode(r.delivery_digest, 'hex'),
      'flyApp', r.fly_app, 'flyVersion', r.fly_secret_version, 'flyDigest', r.fly_secret_digest, 'flyInstances', r.fly_instances,
      'openedAt', r.opened_at, 'committedAt', r.committed_at, 'rolledAt', r.rolled_at, 'completedAt', r.completed_at,
      'sessionPolicy', r.session_policy, 'sessionsEndedAt', r.sessions_ended_at, 'closedAt', r.closed_at, 'quietAt', r.quiet_at,
      'loginCheckedAt', r.login_checked_at)
     where r.tenant_id is not null
  );
end
$$;

-- The nine rotations before the last one that were committed, the newest first.
create function tenant_credentials.earlier(tenant uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return (
    select jsonb_agg(rotation_json(e) order by e.revision desc)
      from (select r.* from rotations r where r.tenant_id = earlier.tenant and r.committed_at is not null order by r.revision desc offset 1 limit 9) e
  );
end
$$;

-- The functions are for the operator's own statements. All other code that runs with its login's rights (code that the management table has
-- put off until COMMIT) runs while no statement that names them does.
create function tenant_credentials.own_statement() returns void
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  if strpos(coalesce(current_query(), ''), 'tenant_credentials.') = 0 then
    raise exception using errcode = 'TC025', message = 'not a statement of the operator';
  end if;
end
$$;

-- Makes the transaction read-only: code that runs at COMMIT runs with the rights of the operator's login, and could otherwise set that
-- login's password. It cannot be undone (PostgreSQL documentation, SET TRANSACTION).
create function tenant_credentials.seal() returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  perform set_config('transaction_read_only', 'on', true);
end
$$;

-- Whether reading the management table, or writing a hash to it, may run code of others: a view, a rule, a policy, a table elsewhere, a type with a cast of
-- its own; a trigger, a CHECK constraint (which may call set_config or query_to_xml, say), a generated column, an index on an expression.
create function tenant_credentials.runs_code(writing boolean) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  first_of_users constant oid := 16384; -- what PostgreSQL itself brings has lower ones (FirstNormalObjectId)
  s settings;
  c pg_class;
begin
  select * into s from settings;
  select k.* into c from pg_namespace n join pg_class k on k.relnamespace = n.oid and k.relname = s.management_table where n.nspname = s.management_schema;
  if c.oid is null or c.relkind <> 'r' or c.relrowsecurity or c.relhasrules or c.relhassubclass or exists (
      select from pg_attribute a
       where a.attrelid = c.oid and a.attname in (s.column_id, s.column_password_hash, s.column_role, s.column_database, s.column_fly_app) and a.atttypid >= first_of_users) then
    return true;
  end if;
  return writing and (
    c.relispartition or c.relam is distinct from (select a.oid from pg_am a where a.amname = 'heap')
    or c.relhastriggers and exists (select from pg_trigger t where t.tgrelid = c.oid and not (t.tgisinternal and t.tgfoid < first_of_users)) -- those of foreign keys are internal
    or exists (select from pg_constraint k where k.conrelid = c.oid and k.contype not in ('p', 'u', 'f', 'n'))
    or exists (select from pg_attribute a where a.attrelid = c.oid and a.attgenerated <> '')
    or exists (select from pg_index i where i.indrelid = c.oid and (i.indexprs is not null or i.indpred is not null or exists (select from unnest(i.indclass) o where o >= first_of_users))));
end
$$;

-- What is known of a tenant. found: the management table has a row for it. login is the one whose password was delivered last, and
-- verifier_digest is that login's, told of a tenant's login alone; former_login is another one of the tenant's while it can log in; second_violation says
-- why there could be no other; valid_until is when that login expires, null = never; ran_code, whether code of others may have run in this transaction;
-- external is what external_json says, null = the tenant has never been let in from outside.
create type tenant_credentials.standing as (
  tenant_id text,
  found boolean,
  role text,
  database text,
  fly_app text,
  role_exists boolean,
  role_violation jsonb,
  login_violation jsonb,
  login text,
  former_login text,
  second_violation jsonb,
  verifier_digest text,
  hash_digest text,
  claim jsonb,
  open_rotation jsonb,
  last_rotation jsonb,
  earlier_rotations jsonb,
  compromised_revision bigint,
  external jsonb,
  clock timestamptz,
  valid_until timestamptz,
  ran_code boolean
);

-- The server's knowledge of tenants, one row per ID and in its order. written: the transaction has written a hash.
create function tenant_credentials.known(tenants uuid[], written boolean default false) returns setof tenant_credentials.standing
language plpgsql security definer rows 1 set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
begin
  return query
    select n.tenant_id::text, n.found, n.role, n.database, n.fly_app, a.oid is not null,
           coalesce(copies_violation(n.copies), role_violation(n.role)), active_login_violation(n.role, n.database, l.active),
           l.active, (select min(o.rolname::text) from logins(n.tenant_id, n.role) o where o.rolname <> l.active and o.rolcanlogin), second_violation(n.role, n.database),
           case when starts_with(n.role, (select s.role_prefix from settings s)) and attribute_violation(v.oid) is null and privileged_login(v.oid) is null
             then encode(sha256(convert_to(v.rolpassword, 'UTF8')), 'hex') end,
           encode(n.hash_digest, 'hex'),
           (select claim_json(c) from claims c where c.tenant_id = n.tenant_id),
           (select rotation_json(r) from rotations r where r.tenant_id = n.tenant_id and r.state in ('open', 'issued')),
           (select rotation_json(r) from rotations r where r.tenant_id = n.tenant_id and r.state in ('committed', 'rolled', 'completed')
             order by r.revision desc limit 1),
           earlier(n.tenant_id),
           (select coalesce(max(r.revision), 0) from rotations r
             where r.tenant_id = n.tenant_id and r.session_policy = 'Compromised' and r.committed_at is not null),
           case when exists (select from pg_auth_members m where m.member = a.oid) or exists (select from external_access e where e.tenant_id = n.tenant_id)
             then external_json(n.tenant_id, a.oid) end, -- nearly all tenants have neither
           clock_timestamp(), case when isfinite(v.rolvaliduntil) then v.rolvaliduntil end, runs_code(written)
      from names(tenants) n
     cross join lateral (select active_login(n.tenant_id, n.role) as active) l
      left join pg_authid a on a.rolname = n.role
      left join pg_authid v on v.rolname = l.active
     order by n.ordinal;
end
$$;

-- known, as a statement of its own.
create function tenant_credentials.observe(tenants uuid[]) returns setof tenant_credentials.standing
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  perform own_statement();
  perform seal();
  return query select k.* from known(tenants) k;
end
$$;

-- The server's settings that have it keep the verifiers which rotations set, where the functions cannot prevent it.
create function tenant_credentials.exposures() returns text[]
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return array(
    select e.setting from (values
      ('pg_stat_statements.track = all', current_setting('pg_stat_statements.track', true) = 'all'),
      ('auto_explain.log_nested_statements = on', current_setting('auto_explain.log_nested_statements', true) = 'on'
                                                  and current_setting('auto_explain.log_min_duration', true) <> '-1'),
      ('pgaudit.log_parameter = on', current_setting('pgaudit.log_parameter', true) = 'on' and current_setting('pgaudit.log', true) <> 'none')
    ) as e (setting, is_so) where e.is_so);
end
$$;

-- A ledger stands in one database, and the roles that it has belong to the server: no two ledgers of a server may have the same ones. Which
-- ledger has which roles is recorded as a setting of tenant_credentials_owner for the ledger's database. All databases see that, and neither
-- a copy of a database nor a dump of it takes it along.
create function tenant_credentials.registrations() returns table (database name, role_prefix text)
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return query
    select d.datname, substr(c, strpos(c, '=') + 1)
      from pg_db_role_setting p join pg_database d on d.oid = p.setdatabase join pg_roles r on r.oid = p.setrole cross join unnest(p.setconfig) c
     where r.rolname = 'tenant_credentials_owner' and split_part(c, '=', 1) = 'tenant_credentials.role_prefix';
end
$$;

-- Another database whose ledger has roles that begin so; null = none.
create function tenant_credentials.other_ledger(prefix text) returns text
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return (select min(r.database::text) from registrations() r
           where r.database <> current_database() and (starts_with(r.role_prefix, prefix) or starts_with(prefix, r.role_prefix)));
end
$$;

-- The server's facts about itself. installed_on: the system identifier at the last installation; registered: the ledger was installed in this
-- database, and is no copy; other_ledger has its roles, too; external_problem: why membership in tenant_credentials_external lets no tenant in.
create function tenant_credentials.survey()
returns table (server_version text, system_identifier text, installed_on text, database text, started timestamptz, clock timestamptz, ledger_version bigint, settings jsonb,
               registered boolean, other_ledger text, exposures text[], problem jsonb, external_problem jsonb)
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
begin
  perform own_statement();
  return query
    select current_setting('server_version'), (select c.system_identifier::text from pg_control_system() c),
           (select s.installed_on from tenant_credentials.settings s), current_database()::text,
           pg_postmaster_start_time(), clock_timestamp(),
           (select coalesce(max(g.version_id), 0) from tenant_credentials.goose_db_version g where g.is_applied),
           (select to_jsonb(s) - 'installed_on' from tenant_credentials.settings s),
           exists (select from registrations() r join tenant_credentials.settings s on s.role_prefix = r.role_prefix where r.database = current_database()),
           (select other_ledger(s.role_prefix) from tenant_credentials.settings s), exposures(), management_problem(), external_problem();
end
$$;

-- What the DETAIL of an error of the ledger's class says; the SQLSTATE alone where it is not what these functions write.
create function tenant_credentials.told_json(refused text, told text) returns jsonb
language plpgsql immutable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  unknown jsonb := jsonb_build_object('code', 'raised', 'sqlstate', refused);
begin
  return case when octet_length(told) <= 4096 and jsonb_typeof(told::jsonb) = 'object' then jsonb_build_object('code', refused) || told::jsonb else unknown end;
exception when others then
  return unknown;
end
$$;

-- Does to the management table what a rotation does, on one row, and undoes it. It answers why that is refused; null = it is not. The table's code
-- can raise an error of the ledger's class with any DETAIL.
create function tenant_credentials.try_management() returns jsonb
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  problem jsonb := management_problem();
  told text;
begin
  perform begin_change();
  if problem is not null then
    return problem;
  end if;
  begin
    perform try_managed();
    raise exception using errcode = 'TC027', message = 'tried and undone';
  exception
    when sqlstate 'TC027' then
      return null;
    when sqlstate 'TC019' or sqlstate 'TC024' then
      get stacked diagnostics told = pg_exception_detail;
      return told_json(sqlstate, told);
    when feature_not_supported then
      return (select jsonb_build_object('code', 'not_lockable', 'schema', s.management_schema, 'table', s.management_table, 'sqlstate', sqlstate) from settings s);
  end;
end
$$;
-- +goose StatementEnd

reset role;
grant select on tenant_credentials.goose_db_version to tenant_credentials_owner;
grant execute on function tenant_credentials.seal() to tenant_credentials_hash; -- for owner_is
