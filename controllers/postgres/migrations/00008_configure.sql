-- +goose Up
-- The functions that the installation's script and a DBA call. Their errors are sentences: psql has no program beside it that words them.
-- +goose StatementBegin
-- Gives a login of a tenant what its role has: connection limit, expiry and settings, which do not apply to it of themselves. The role's own
-- are the ones that count. A session of the tenant can write nearly any setting with nearly any value, so a setting that cannot be given is
-- left out, and named in the answer; none keeps the login from its password. It runs with the caller's rights: issue calls it for what
-- CREATEROLE may do, prepare_overlap for the rest.
create function tenant_credentials.carry_over(role text, login text) returns text[]
language plpgsql set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  a pg_roles;
  b pg_roles;
  s record;
  left_out text[] := '{}';
begin
  select * into a from pg_roles r where r.rolname = role;
  select * into b from pg_roles r where r.rolname = login;
  if a.rolconnlimit <> b.rolconnlimit then
    execute format('alter role %I connection limit %s', login, a.rolconnlimit);
  end if;
  if a.rolvaliduntil is distinct from b.rolvaliduntil then
    execute format('alter role %I valid until %L', login, coalesce(a.rolvaliduntil, 'infinity'));
  end if;
  for s in
    with settings as (
      select p.setrole, coalesce(' in database ' || quote_ident(d.datname), '') as place, split_part(c, '=', 1) as name, substr(c, strpos(c, '=') + 1) as value
        from pg_db_role_setting p left join pg_database d on d.oid = p.setdatabase cross join unnest(p.setconfig) c
    ), wanted as (select * from settings where setrole = a.oid), present as (select * from settings where setrole = b.oid)
    select place, name, w.value, row_number() over (order by name, place) > 100 or octet_length(w.value) > 8192 as is_too_much
      from wanted w full join present p using (place, name)
     where name not in ('role', 'session_authorization') and w.value is distinct from p.value
  loop
    begin
      if s.is_too_much then
        left_out := left_out || s.name;
      elsif s.value is null then
        execute format('alter role %I', login) || s.place || format(' reset %I', s.name);
      else
        execute format('alter role %I', login) || s.place || format(' set %I to ', s.name) || setting_literal(s.name, s.value);
      end if;
    exception when others then
      left_out := left_out || s.name;
    end;
  end loop;
  return array(select left(regexp_replace(n, '[^ -~]', '?', 'g'), 63) from unnest(left_out) n limit 10);
end
$$;

-- The value of a setting as ALTER ROLE … SET takes it, from how pg_db_role_setting has it.
create function tenant_credentials.setting_literal(name text, value text) returns text
language plpgsql immutable set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  -- The settings that PostgreSQL keeps as a list of quoted names (GUC_LIST_QUOTE; pg_dump has the same list).
  if name not in ('local_preload_libraries', 'search_path', 'session_preload_libraries', 'shared_preload_libraries', 'temp_tablespaces', 'unix_socket_directories') then
    return quote_literal(value);
  end if;
  return coalesce((select string_agg(quote_literal(coalesce(replace(m[1], '""', '"'), m[2])), ', ')
                     from regexp_matches(value, '"((?:[^"]|"")*)"|([^", ][^,]*)', 'g') m), $q$''$q$); -- an empty list
end
$$;

-- For the DBA, once per tenant whose rotations are to overlap, and again after each change of the role's settings that only a superuser
-- can change: makes the second login, which is the role's in all but the password. It cannot log in until a rotation says so.
create function tenant_credentials.prepare_overlap(role text) returns void
language plpgsql set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  a pg_authid;
  second text := prepare_overlap.role || '_b';
  left_out text[];
begin
  select * into a from pg_authid r where r.rolname = prepare_overlap.role;
  if a.oid is null or not starts_with(a.rolname, (select s.role_prefix from settings s)) or attribute_violation(a.oid) is not null
     or privileged_login(a.oid) is not null then
    raise exception using errcode = 'TC021', message = format('Role %I does not exist, or is not a tenant''s.', prepare_overlap.role);
  end if;
  if octet_length(second) > 63 then
    raise exception using errcode = 'TC021', message = format('The name of role %I is too long to have _b added to it: 61 bytes at most.', a.rolname);
  end if;
  if not exists (select from pg_authid b where b.rolname = second) then
    execute format('create role %I nologin', second);
  elsif (second_login(a.rolname)).oid is null or exists (select from claims c where c.role = second) then
    raise exception using errcode = 'TC021', message = format('Role %I exists, and is not the second login of %I.', second, a.rolname);
  end if;
  execute format('grant %I to %I', a.rolname, second);
  execute format('alter role %I set role to %L', second, a.rolname); -- so that what its sessions create belongs to the role
  left_out := carry_over(a.rolname, second);
  if left_out <> '{}' then
    raise warning 'Settings of role % that % does not get: %', quote_ident(a.rolname), quote_ident(second), array_to_string(left_out, ', ');
  end if;
  if current_setting('server_version_num')::integer >= 160000 then
    execute format('grant %I, %I to tenant_credentials_owner with admin true, inherit false, set false', a.rolname, second);
  end if;
end
$$;

-- The sentence of a problem, with the words that the installation has brought along (words.go), where {name} stands for a field, {name:I} for one as an
-- identifier, {name:L} as a literal and {name:W} for a word; without those words, the problem itself. The words are a setting, which code on the
-- management table could change: it runs in try_management alone, which undoes that.
create function tenant_credentials.worded(problem jsonb) returns text
language plpgsql stable set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  words text := nullif(current_setting('tenant_credentials.words', true), '')::jsonb ->> (problem ->> 'code');
begin
  return coalesce((
    select string_agg(part[1] || case part[3]
        when ':I' then (select string_agg(quote_ident(v), ', ')
                          from jsonb_array_elements_text(case jsonb_typeof(problem -> part[2]) when 'array' then problem -> part[2] else jsonb_build_array(problem -> part[2]) end) v)
        when ':L' then quote_literal(problem ->> part[2])
        when ':W' then left(regexp_replace(problem ->> part[2], '[^A-Za-z0-9_-]', '', 'g'), 20)
        else coalesce(problem ->> part[2], '') end, '' order by ordinal)
      from regexp_matches(words, '([^{]*)(?:[{]([a-z]+)(:[A-Z])?[}])?', 'g') with ordinality as x (part, ordinal)), problem::text);
end
$$;

-- Ends an installation after which no rotation would succeed. The remedy may be a right of tenant_credentials_hash, a role that the end of a first
-- installation takes away again.
create function tenant_credentials.require_no_problem(problem jsonb) returns void
language plpgsql set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  says text := worded(problem);
begin
  if problem is not null then
    raise exception using errcode = 'TC028', message = 'A rotation would fail. ' || case
      when strpos(says, 'tenant_credentials_hash') > 0 and current_setting('tenant_credentials.hash_role_is_new', true) = 'on'
        then 'Role tenant_credentials_hash does not exist yet: CREATE ROLE tenant_credentials_hash NOLOGIN, and then mend this. '
      else '' end || says;
  end if;
end
$$;

-- A login that functions are granted to exists, has no power of its own, and is no tenant's.
create function tenant_credentials.require_ordinary(login text, what text, role_prefix text) returns void
language plpgsql set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  found oid := (select r.oid from pg_roles r where r.rolname = login);
begin
  if found is null then
    raise exception using errcode = 'TC021', message = format('Role %I, %s, does not exist.', login, what);
  end if;
  if attribute_violation(found) is not null then
    raise exception using errcode = 'TC021', message = format('Role %I, %s, has to be an ordinary role: it has the attribute %s: ALTER ROLE %1$I NO%3$s.', login, what, attribute_violation(found) ->> 'attribute');
  end if;
  if starts_with(login, role_prefix) then
    raise exception using errcode = 'TC021', message = format('Role %I, %s, begins with %L as the tenants'' roles do: give it another name.', login, what, role_prefix);
  end if;
end
$$;

-- For the DBA, at every installation: writes the settings and grants what follows from them. It runs with the rights of the caller,
-- which has to be a superuser.
create function tenant_credentials.configure(
  management_schema text, management_table text, column_id text, column_password_hash text,
  column_role text, column_database text, column_fly_app text,
  role_prefix text, database_prefix text, fly_app_prefix text, operator_login text, column_owner text, gateway_login text) returns void
language plpgsql set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  tenant record;
  other text;
begin
  perform require_ordinary(operator_login, 'the operator''s login', role_prefix);
  if gateway_login <> '' then
    perform require_ordinary(gateway_login, 'the endpoint''s login', role_prefix);
    if gateway_login = operator_login then
      raise exception using errcode = 'TC021', message = format('Role %I is the operator''s login: the endpoint needs one of its own.', gateway_login);
    end if;
  end if;
  lock table pg_db_role_setting in share row exclusive mode; -- of two installations in two databases the second sees the first (prelude.sql)
  other := other_ledger(role_prefix);
  if other is not null then
    raise exception using errcode = 'TC023', message = format('Database %I of this server has a ledger for roles that begin with %L, too, and a role has one '
      'password. Choose another spec.naming.rolePrefix; or, once that ledger is not used any more: ALTER ROLE tenant_credentials_owner IN DATABASE %1$I '
      'RESET tenant_credentials.role_prefix', other, role_prefix);
  end if;
  execute format('alter role tenant_credentials_owner in database %I set tenant_credentials.role_prefix to %L', current_database(), role_prefix);

  insert into settings as s values (true, management_schema, management_table, column_id, column_password_hash, column_role,
      column_database, column_fly_app, column_owner, role_prefix, database_prefix, fly_app_prefix, (select c.system_identifier::text from pg_control_system() c))
    on conflict (singleton) do update set
      (management_schema, management_table, column_id, column_password_hash, column_role, column_database, column_fly_app, column_owner,
       role_prefix, database_prefix, fly_app_prefix, installed_on)
    = (excluded.management_schema, excluded.management_table, excluded.column_id, excluded.column_password_hash, excluded.column_role,
       excluded.column_database, excluded.column_fly_app, excluded.column_owner, excluded.role_prefix, excluded.database_prefix, excluded.fly_app_prefix, excluded.installed_on);

  perform require_no_problem(management_problem()); -- before the grants, which would say less of it
  execute format('grant usage on schema %I to tenant_credentials_hash', management_schema);
  execute format('revoke all on %I.%I from tenant_credentials_hash', management_schema, management_table);
  execute format('grant select, update (%I) on %I.%I to tenant_credentials_hash', column_password_hash, management_schema, management_table);

  execute format('grant usage on schema tenant_credentials to %I', operator_login);
  execute format('grant execute on function tenant_credentials.survey(), tenant_credentials.observe(uuid[]), '
    'tenant_credentials.try_management(), tenant_credentials.adopt(uuid, text, text, text, text, text, text, text), '
    'tenant_credentials.open(uuid, text, bigint, text, text, bigint, bigint, text, text, text), tenant_credentials.lock(uuid, text), '
    'tenant_credentials.stage(uuid, text, bigint, text, bytea, text, boolean), tenant_credentials.commit(uuid, text, bigint, text, numeric, text, text[]), '
    'tenant_credentials.issue(uuid, text, bigint, text), tenant_credentials.close(uuid, text, bigint), tenant_credentials.rolled(uuid, text, bigint), '
    'tenant_credentials.retire(uuid, text, bigint, interval, boolean, boolean), '
    'tenant_credentials.login_checked(uuid, text, bigint), tenant_credentials.complete(uuid, text, bigint), tenant_credentials.discard(uuid, text, bigint), '
    'tenant_credentials.terminate(uuid, text), tenant_credentials.end_sessions(uuid, text, bigint, boolean), '
    'tenant_credentials.set_external_access(uuid, text, boolean), tenant_credentials.sweep_external_access(uuid, text), '
    'tenant_credentials.login_settings(uuid, text) to %I', operator_login);

  if gateway_login <> '' then
    execute format('grant usage on schema tenant_credentials to %I', gateway_login);
    execute format('grant execute on function tenant_credentials.owner_is(uuid, text) to %I', gateway_login);
  end if;

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
revoke execute on function tenant_credentials.carry_over(text, text), tenant_credentials.setting_literal(text, text), tenant_credentials.prepare_overlap(text),
  tenant_credentials.worded(jsonb), tenant_credentials.require_no_problem(jsonb), tenant_credentials.require_ordinary(text, text, text) from public;
grant execute on function tenant_credentials.carry_over(text, text), tenant_credentials.setting_literal(text, text) to tenant_credentials_owner;
revoke execute on function tenant_credentials.configure(text, text, text, text, text, text, text, text, text, text, text, text, text) from public;
