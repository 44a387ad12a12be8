-- Run before every migration, by a superuser: the three roles, and the schema. Idempotent. Roles belong to the server, so an installation waits here
-- for another one, in whatever database. Nothing else waits for this lock but ALTER ROLE … SET.
lock table pg_catalog.pg_db_role_setting in share row exclusive mode;

-- tenant_credentials_owner owns the ledger and its functions; it may set passwords (CREATEROLE; from PostgreSQL 16 on only of
-- roles that it has the ADMIN option of), and see digests of them.
-- tenant_credentials_hash is who touches the management table. That table is the platform's: a trigger or a view on it runs with
-- the rights of who uses it, so this role has none but to read the table and to write the one column.
-- tenant_credentials_external is the group of the tenants that are let in from outside. It has no right at all: rules of pg_hba.conf name it. CREATEROLE is
-- enough to grant it up to PostgreSQL 15; after it the ADMIN option is needed.
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'tenant_credentials_owner') then
    create role tenant_credentials_owner nologin createrole;
  end if;
  if not exists (select from pg_catalog.pg_roles where rolname = 'tenant_credentials_hash') then
    create role tenant_credentials_hash nologin;
    perform set_config('tenant_credentials.hash_role_is_new', 'on', true);
  end if;
  if not exists (select from pg_catalog.pg_roles where rolname = 'tenant_credentials_external') then
    create role tenant_credentials_external nologin;
  end if;
  if current_setting('server_version_num')::integer >= 160000
     and not pg_catalog.pg_has_role('tenant_credentials_owner', 'tenant_credentials_external', 'MEMBER WITH ADMIN OPTION') then
    execute 'grant tenant_credentials_external to tenant_credentials_owner with admin true, inherit false, set false'; -- 15 cannot parse it
  end if;
end
$$;
grant select on pg_catalog.pg_authid to tenant_credentials_owner;
grant pg_read_all_stats, pg_signal_backend to tenant_credentials_owner;
grant execute on function pg_catalog.pg_hba_file_rules() to tenant_credentials_owner; -- which rules require the group, and which session came by one
-- So that the bound verifier is not logged where the server logs statements with their parameters.
grant set on parameter log_parameter_max_length to tenant_credentials_owner;
do $$
begin
  if current_setting('server_version_num')::integer >= 160000 then -- before, auto_explain prints no parameters
    grant set on parameter auto_explain.log_parameter_max_length to tenant_credentials_owner;
  end if;
end
$$;
alter default privileges for role tenant_credentials_owner revoke execute on functions from public;
create schema if not exists tenant_credentials authorization tenant_credentials_owner;
