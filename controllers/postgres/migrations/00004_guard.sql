-- +goose Up
set local role tenant_credentials_owner;

-- +goose StatementBegin
-- The names of tenants: the override's value, else prefix and the first 8 hex digits of the ID. One row per ID, in its order, also where the
-- management table has several copies of a tenant. (rows 1, here and elsewhere: whoever expects the default of 1000 joins by reading all of pg_authid.)
create function tenant_credentials.names(tenants uuid[])
returns table (ordinal bigint, tenant_id uuid, found boolean, copies bigint, role text, database text, fly_app text, hash_digest bytea)
language plpgsql security definer rows 1 set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  s tenant_credentials.settings;
begin
  select * into s from settings;
  if s.singleton is null then
    raise exception using errcode = 'TC020', message = 'not configured', detail = json_build_object('code', 'not_configured')::text;
  end if;
  return query
    select distinct on (a.ordinality) a.ordinality, a.tenant_id, m.tenant_id is not null, count(*) over (partition by a.ordinality),
           coalesce(m.role, s.role_prefix || left(a.tenant_id::text, 8)),
           coalesce(m.database, s.database_prefix || left(a.tenant_id::text, 8)),
           coalesce(m.fly_app, s.fly_app_prefix || left(a.tenant_id::text, 8)),
           m.hash_digest
      from unnest(tenants) with ordinality as a (tenant_id, ordinality)
      left join read_managed(tenants) m on m.tenant_id = a.tenant_id
     order by a.ordinality, m.role, m.database, m.fly_app;
end
$$;

-- Why a role's own attributes make it too powerful to be a tenant's; null = they do not.
create function tenant_credentials.attribute_violation(candidate oid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return (
    select jsonb_build_object('code', 'attribute', 'role', r.rolname, 'attribute', a.name)
      from pg_authid r
     cross join lateral (values (1, 'SUPERUSER', r.rolsuper), (2, 'CREATEROLE', r.rolcreaterole), (3, 'CREATEDB', r.rolcreatedb),
                                (4, 'REPLICATION', r.rolreplication), (5, 'BYPASSRLS', r.rolbypassrls)) as a (ordinal, name, present)
     where r.oid = candidate and a.present
     order by a.ordinal
     limit 1
  );
end
$$;

-- Whose login it is, where it is not a tenant's: the operator's, the ledger's, or the platform's own; null = neither. A name with the tenants' prefix does
-- not make it one.
create function tenant_credentials.privileged_login(candidate oid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
begin
  if has_function_privilege(candidate, 'tenant_credentials.stage(uuid, text, bigint, text, bytea, text, boolean)', 'EXECUTE') then
    return jsonb_build_object('code', 'operator');
  end if;
  if exists (select from pg_roles r where r.oid = candidate and r.rolname in ('tenant_credentials_owner', 'tenant_credentials_hash', 'tenant_credentials_external')) then
    return jsonb_build_object('code', 'ledger');
  end if;
  select * into s from settings;
  return (
    select case
        when exists (select from pg_database d where d.datname = current_database() and d.datdba = candidate) then jsonb_build_object('code', 'database_owner', 'database', current_database())
        when n.nspowner = candidate then jsonb_build_object('code', 'schema_owner', 'schema', s.management_schema)
        when c.relowner = candidate then jsonb_build_object('code', 'table_owner', 'schema', s.management_schema, 'table', s.management_table)
      end
      from pg_namespace n left join pg_class c on c.relnamespace = n.oid and c.relname = s.management_table
     where n.nspname = s.management_schema
  );
end
$$;

-- What privileged_login answers, as it is told of a tenant's role or of its second login.
create function tenant_credentials.powerful(power jsonb, kind text, login text) returns jsonb
language plpgsql immutable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return power || jsonb_build_object('code', kind || '_' || (power ->> 'code'), 'role', login);
end
$$;

-- Why a tenant's role may not be a member, at any depth, of one of its groups; null = it may. All memberships count, also
-- those without INHERIT or SET: an ADMIN option is enough to give oneself the rest. The group of roles that are let in from outside is a tenant's
-- like any other, without the ADMIN option.
create function tenant_credentials.membership_violation(candidate oid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
  answer jsonb;
begin
  if not exists (select from pg_auth_members m where m.member = candidate) then
    return null; -- nearly all tenants, and much cheaper
  end if;
  select * into s from settings;
  with recursive above (role, through) as (
    select m.roleid, m.roleid from pg_auth_members m where m.member = candidate
    union
    select m.roleid, a.through from pg_auth_members m join above a on m.member = a.role
  ), judged as materialized ( -- so that only these roles are judged, and not every role of the server
    select g.rolname as group_name, t.rolname as through, case
        when attribute_violation(g.oid) is not null then jsonb_build_object('code', 'member_attribute', 'attribute', attribute_violation(g.oid) -> 'attribute')
        when g.rolname in ('tenant_credentials_owner', 'tenant_credentials_hash')
          or has_function_privilege(g.oid, 'tenant_credentials.stage(uuid, text, bigint, text, bytea, text, boolean)', 'EXECUTE') then jsonb_build_object('code', 'member_operator')
        when g.rolname = 'tenant_credentials_external'
          and exists (select from pg_auth_members m where m.roleid = g.oid and m.member = candidate and m.admin_option) then jsonb_build_object('code', 'member_admin')
        when starts_with(g.rolname, 'pg_') and g.rolname <> all (s.allowed_predefined_roles)
          then jsonb_build_object('code', 'member_predefined')
        when exists (select from claims c where c.role = g.rolname)
          or (s.role_prefix <> '' and g.rolcanlogin and starts_with(g.rolname, s.role_prefix)) then jsonb_build_object('code', 'member_tenant')
      end as problem
      from above a join pg_authid g on g.oid = a.role join pg_authid t on t.oid = a.through
  )
  select j.problem || jsonb_build_object('role', r.rolname, 'group', j.group_name, 'through', j.through) into answer
    from judged j, pg_authid r
   where j.problem is not null and r.oid = candidate
   order by j.group_name
   limit 1;
  return answer;
end
$$;

-- Why the role could not log in to its database; null = it can.
create function tenant_credentials.login_violation(candidate oid, candidate_database text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return (
    select case
        when not r.rolcanlogin then jsonb_build_object('code', 'no_login', 'role', r.rolname)
        when r.rolconnlimit = 0 then jsonb_build_object('code', 'no_connection', 'role', r.rolname)
        when r.rolvaliduntil <= clock_timestamp() then jsonb_build_object('code', 'expired', 'role', r.rolname)
        when d.oid is null then jsonb_build_object('code', 'database_missing', 'role', r.rolname, 'database', left(candidate_database, 64))
        when not d.datallowconn then jsonb_build_object('code', 'database_closed', 'role', r.rolname, 'database', d.datname)
        when d.datconnlimit < -1 then jsonb_build_object('code', 'database_dropped', 'role', r.rolname, 'database', d.datname)
        when d.datconnlimit = 0 then jsonb_build_object('code', 'database_no_connection', 'role', r.rolname, 'database', d.datname)
        when not has_database_privilege(r.oid, d.oid, 'CONNECT')
          then jsonb_build_object('code', 'no_connect', 'role', r.rolname, 'database', d.datname)
      end
      from pg_authid r left join pg_database d on d.datname = candidate_database
     where r.oid = candidate
  );
end
$$;

-- Why we could not set the role's password; null = we can. Up to PostgreSQL 15 CREATEROLE is enough, after it the ADMIN option
-- of each role is needed.
create function tenant_credentials.admin_violation(candidate oid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return (
    select jsonb_build_object('code', 'no_admin', 'role', r.rolname, 'owner', current_user)
      from pg_authid r
     where r.oid = candidate and current_setting('server_version_num')::integer >= 160000
       and not pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION')
  );
end
$$;

-- The second login of a tenant's role, for rotations with two: its name is the role's with _b. A role of that name may be another owner's; it
-- is the tenant's if prepare_overlap has made it a member, or if a rotation has ever gone to it: a session of it can do away with its
-- settings, and that must not keep it from being closed. null = there is none.
create function tenant_credentials.second_login(role text) returns pg_authid
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  answer pg_authid;
begin
  select b.* into answer
    from pg_authid a
    join pg_authid b on b.rolname = second_login.role || '_b'
   where a.rolname = second_login.role
     and (exists (select from pg_auth_members m where m.roleid = a.oid and m.member = b.oid)
          or exists (select from claims c join rotations r on r.tenant_id = c.tenant_id where c.role = a.rolname and r.login = b.rolname));
  return answer;
end
$$;

-- The login whose password was delivered last; the role itself where nothing was.
create function tenant_credentials.active_login(tenant uuid, role text) returns text
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  delivered text := (select r.login from rotations r where r.tenant_id = tenant and r.state in ('committed', 'rolled', 'completed')
                      order by r.revision desc limit 1);
begin
  return case when delivered = role || '_b' then delivered else role end; -- another role's: the platform has given the tenant a new one
end
$$;

-- The other login of the pair, whether or not it can log in; null = there is none.
create function tenant_credentials.other_login(role text, login text) returns pg_authid
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  answer pg_authid;
begin
  if login = role then
    return second_login(role);
  end if;
  select a.* into answer from pg_authid a where a.rolname = other_login.role;
  return answer;
end
$$;

-- Every login that a tenant can have: its role, its second login, and those that a rotation of the tenant has ever given a
-- password to, under any present name. One that another tenant has since is that tenant's.
create function tenant_credentials.logins(tenant uuid, role text) returns setof pg_authid
language plpgsql stable security definer rows 1 set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  pair name[] := array[logins.role, (second_login(logins.role)).rolname]; -- asked once, and not for each role of the server
  others oid[] := array(select r.login_oid from rotations r where r.tenant_id = logins.tenant and r.login_oid is not null);
begin
  return query
    select a.* from pg_authid a where a.rolname = any (pair)
    union all
    select a.* from pg_authid a
     where a.oid = any (others) and a.rolname <> all (array_remove(pair, null))
       and attribute_violation(a.oid) is null and privileged_login(a.oid) is null
       and not exists (select from claims o where o.tenant_id <> logins.tenant and a.rolname in (o.role, o.role || '_b'));
end
$$;

-- Whether a login of the tenant but this one can be used.
create function tenant_credentials.others_open(tenant uuid, role text, login text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return exists (select from logins(tenant, role) l where l.rolname <> login and l.rolcanlogin);
end
$$;

-- Why the role has no second login that the operator could use; null = it has. prepare_overlap carries over from the role what only a
-- superuser may set.
create function tenant_credentials.second_violation(role text, candidate_database text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  b pg_authid := second_login(role);
  pair jsonb := jsonb_build_object('role', left(role, 64), 'second', left(role || '_b', 64));
  other text;
begin
  if b.oid is not null and not (
      exists (select from pg_auth_members m join pg_authid a on a.oid = m.roleid where m.member = b.oid and a.rolname = second_violation.role)
      and exists (select from pg_db_role_setting s where s.setrole = b.oid and s.setdatabase = 0 and 'role=' || second_violation.role = any (s.setconfig))) then
    return pair || jsonb_build_object('code', 'second_settings');
  elsif b.oid is null then
    return pair || jsonb_build_object('code', 'second_missing');
  end if;
  select c.tenant_id::text into other from claims c where c.role = b.rolname;
  if other is not null then
    return pair || jsonb_build_object('code', 'second_claimed', 'tenant', other);
  end if;
  select g.rolname into other from pg_auth_members m join pg_authid g on g.oid = m.roleid where m.member = b.oid and g.rolname <> role limit 1;
  return coalesce(attribute_violation(b.oid), powerful(privileged_login(b.oid), 'second', b.rolname),
    case when other is not null then pair || jsonb_build_object('code', 'second_member', 'group', other) end,
    case when b.rolconnlimit = 0 then jsonb_build_object('code', 'no_connection', 'role', b.rolname) end,
    case when exists (select from pg_database d where d.datname = candidate_database and not has_database_privilege(b.oid, d.oid, 'CONNECT'))
      then jsonb_build_object('code', 'no_connect', 'role', b.rolname, 'database', candidate_database) end,
    admin_violation(b.oid));
end
$$;

-- The role guard: why the role is refused; null = allowed, or no such role.
create function tenant_credentials.role_violation(candidate text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  prefix text := (select role_prefix from settings);
  role_oid oid := (select oid from pg_authid where rolname = candidate);
begin
  if role_oid is null then
    return null;
  end if;
  if not starts_with(candidate, prefix) then
    return jsonb_build_object('code', 'prefix', 'role', candidate, 'prefix', prefix, 'renamed', left(prefix || candidate, 64));
  end if;
  return coalesce(attribute_violation(role_oid), powerful(privileged_login(role_oid), 'role', candidate), membership_violation(role_oid), admin_violation(role_oid));
end
$$;

-- Why the tenant could not log in with any password; null = it could.
create function tenant_credentials.active_login_violation(candidate text, candidate_database text, active text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  login pg_authid;
  other pg_authid := other_login(candidate, active);
begin
  select a.* into login from pg_authid a where a.rolname = active;
  if not login.rolcanlogin and other.rolcanlogin then
    login := other; -- the ledger has lost the rotation that went to this one
  end if;
  return login_violation(login.oid, candidate_database);
end
$$;

-- Says that the management table has a tenant more than once; null = once.
create function tenant_credentials.copies_violation(copies bigint) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return (
    select jsonb_build_object('code', 'copies', 'schema', s.management_schema, 'table', s.management_table, 'rows', copies, 'column', s.column_id)
      from settings s where copies > 1
  );
end
$$;

-- Refuses a role that is missing, or that the guard does not allow. With without_login the guard does not ask whether it could log in: the caller
-- has closed the login, and gives it a new password even if something else keeps it from its database.
create function tenant_credentials.guard(candidate text, candidate_database text, active text, without_login boolean default false) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  violation jsonb;
begin
  if not exists (select from pg_authid where rolname = candidate) then
    raise exception using errcode = 'TC011', message = 'no such role', detail = json_build_object('role', left(candidate, 64))::text;
  end if;
  violation := role_violation(candidate);
  if violation is null and not without_login then
    violation := active_login_violation(candidate, candidate_database, active);
  end if;
  if violation is not null then
    raise exception using errcode = 'TC012', message = 'role not allowed', detail = violation::text;
  end if;
end
$$;

-- The names of settings that the tenant's role, its second login or its database carries, for the message of a login that failed; null = there
-- is none. First those that can make a login fail or act as another role, never a value, and at most ten. The second login's own role is
-- prepare_overlap's.
create function tenant_credentials.login_settings(tenant uuid, uid text) returns text[]
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  held claims;
begin
  perform own_statement();
  select * into held from claims c where c.tenant_id = login_settings.tenant;
  if held.tenant_id is null or held.uid is distinct from login_settings.uid then
    raise exception using errcode = 'TC014', message = 'not the holder';
  end if;
  return (
    select array_agg(left(regexp_replace(n.name, '[^A-Za-z0-9_.$]', '?', 'g'), 63) order by n.ordinal) from (
      select d.name, row_number() over (order by array_position(array['local_preload_libraries', 'session_preload_libraries', 'role',
          'session_authorization', 'statement_timeout', 'transaction_timeout', 'idle_session_timeout', 'search_path', 'default_tablespace',
          'temp_tablespaces', 'default_text_search_config', 'default_table_access_method'], d.name) nulls last, d.name) as ordinal
        from (
          select distinct split_part(c, '=', 1) as name
            from pg_db_role_setting p
            left join pg_roles r on r.oid = p.setrole
            left join pg_database b on b.oid = p.setdatabase
           cross join unnest(p.setconfig) c
           where (r.rolname in (held.role, (second_login(held.role)).rolname) or p.setrole = 0 and b.datname = held.database)
             and not (r.rolname = held.role || '_b' and c = 'role=' || held.role)
        ) d
       limit 10
    ) n
  );
end
$$;
-- +goose StatementEnd

reset role;
