-- +goose Up
-- +goose StatementBegin
-- For the DBA, at every installation: writes the settings and grants what follows from them. It runs with the caller's rights, who
-- has to be a superuser.
create function tenant_credentials.configure(
  management_schema text, management_table text, column_id text, column_password_hash text,
  column_role text, column_database text, column_fly_app text,
  role_prefix text, database_prefix text, fly_app_prefix text, operator_login text) returns void
language plpgsql set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  login pg_roles;
  tenant record;
begin
  select * into login from pg_roles r where r.rolname = operator_login;
  if login.rolname is null then
    raise exception using errcode = 'TC021', message = format('Role %I, the operator''s login, does not exist.', operator_login);
  end if;
  if login.rolsuper or login.rolcreaterole then
    raise exception using errcode = 'TC021', message = format('Role %I, the operator''s login, has to be an ordinary role.', operator_login);
  end if;

  insert into settings as s values (true, management_schema, management_table, column_id, column_password_hash, column_role,
      column_database, column_fly_app, role_prefix, database_prefix, fly_app_prefix)
    on conflict (singleton) do update set
      (management_schema, management_table, column_id, column_password_hash, column_role, column_database, column_fly_app,
       role_prefix, database_prefix, fly_app_prefix)
    = (excluded.management_schema, excluded.management_table, excluded.column_id, excluded.column_password_hash, excluded.column_role,
       excluded.column_database, excluded.column_fly_app, excluded.role_prefix, excluded.database_prefix, excluded.fly_app_prefix);

  execute format('grant usage on schema %I to tenant_credentials_hash', management_schema);
  execute format('revoke all on %I.%I from tenant_credentials_hash', management_schema, management_table);
  execute format('grant select, update (%I) on %I.%I to tenant_credentials_hash', column_password_hash, management_schema, management_table);

  execute format('grant usage on schema tenant_credentials to %I', operator_login);
  execute format('grant execute on function tenant_credentials.survey(), tenant_credentials.observe(uuid[]), '
    'tenant_credentials.adopt(uuid, text, text, text, text, text, bigint, text, text), '
    'tenant_credentials.open(uuid, text, bigint, text, text, bigint, bigint, text, text), tenant_credentials.lock(uuid, text), '
    'tenant_credentials.stage(uuid, bigint, text, bytea, text), tenant_credentials.commit(uuid, bigint, text, numeric, text), '
    'tenant_credentials.complete(uuid, text, bigint), tenant_credentials.discard(uuid, text, bigint), '
    'tenant_credentials.terminate(uuid, integer), tenant_credentials.end_sessions(uuid, text, bigint, boolean) to %I', operator_login);

  -- From PostgreSQL 16 on CREATEROLE does not reach roles of others. INHERIT and SET stay off: the owner gets none of the tenant's rights.
  if current_setting('server_version_num')::integer >= 160000 then
    for tenant in select r.rolname from pg_roles r
                   where starts_with(r.rolname, role_prefix) and r.rolcanlogin and r.rolname <> operator_login and attribute_violation(r.oid) is null
                     and not pg_has_role('tenant_credentials_owner', r.oid, 'MEMBER WITH ADMIN OPTION') loop
      execute format('grant %I to tenant_credentials_owner with admin true, inherit false, set false', tenant.rolname);
    end loop;
  end if;
end
$$;
-- +goose StatementEnd
revoke execute on function tenant_credentials.configure(text, text, text, text, text, text, text, text, text, text, text) from public;
