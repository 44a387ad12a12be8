-- +goose Up
-- External access: membership in the group role tenant_credentials_external, which the rules of pg_hba.conf for external connections require.
-- pg_hba.conf counts indirect members, with or without INHERIT, so a tenant's second login, which is a member of its role, is let in with it.
set local role tenant_credentials_owner;

-- Every change of a tenant's external access. revoked says that a membership ended, or was found to have ended; sweeping, that a later transaction
-- has seen that, so that no login which begins from then on can have been let in by it; swept, that no external session was left, nor a login in
-- progress that could become one. role_oid identifies the role under any later name.
create table tenant_credentials.external_access (
  id bigint generated always as identity primary key,
  tenant_id uuid not null,
  uid text not null check (tenant_credentials.printable(uid, 128)),
  change text not null check (change in ('granted', 'revoked', 'sweeping', 'swept')),
  role text,
  role_oid oid,
  changed_at timestamptz not null default clock_timestamp(),
  check ((role_oid is null) = (change in ('sweeping', 'swept')) and (role is null) = (role_oid is null))
);
create index external_access_tenant on tenant_credentials.external_access (tenant_id, id);
create trigger external_access_keep before update or delete or truncate on tenant_credentials.external_access
  for each statement execute function tenant_credentials.refuse_removal();
revoke update, delete, truncate on tenant_credentials.external_access from tenant_credentials_owner;

-- +goose StatementBegin
-- Whether pg_hba.conf takes a role for a member of the group: directly or not, and not because it is a superuser.
create function tenant_credentials.external_member(candidate oid) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  members oid := to_regrole('tenant_credentials_external');
begin
  if not exists (select from pg_auth_members m where m.member = candidate) then
    return false; -- nearly all tenants, and much cheaper
  end if;
  return exists (select from pg_auth_members m where m.member = candidate and m.roleid = members)
      or coalesce(pg_has_role(candidate, members, 'MEMBER'), false) and not exists (select from pg_authid a where a.oid = candidate and a.rolsuper);
end
$$;

-- The roles by which the ledger has let a tenant in, each with its last change. One that another tenant has since is that one's.
create function tenant_credentials.external_roles(tenant uuid) returns table (id bigint, role_oid oid, change text, member boolean)
language plpgsql stable security definer rows 1 set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
begin
  return query
    select distinct on (e.role_oid) e.id, e.role_oid, e.change, external_member(e.role_oid)
      from external_access e
     where e.tenant_id = external_roles.tenant and e.role_oid is not null
       and not exists (select from pg_authid a join claims o on a.rolname in (o.role, o.role || '_b') where a.oid = e.role_oid and o.tenant_id <> external_roles.tenant)
     order by e.role_oid, e.id desc;
end
$$;

-- What is so of a tenant's external access: whether its role is a member; unended, whether a role that it had before is a member still, or a
-- membership has ended without the ledger's knowing, so that set_external_access is to be called; unswept, whether sessions of a membership that has
-- ended may be left, so that sweep_external_access is; and whether the ledger has ever let it in.
create function tenant_credentials.external_json(tenant uuid, present oid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  swept bigint := (select coalesce(max(e.id), 0) from external_access e where e.tenant_id = external_json.tenant and e.change = 'swept');
begin
  return (
    select jsonb_build_object('member', external_member(present),
             'unended', coalesce(bool_or(case when r.member then r.role_oid is distinct from present else r.change = 'granted' end), false),
             'unswept', coalesce(bool_or(not r.member and r.change = 'revoked' and r.id > swept), false),
             'noted', count(*) > 0)
      from external_roles(tenant) r
  );
end
$$;

-- Ends the memberships of a tenant's roles, but for one: those that the ledger knows of, and the one that the claim names. It does not ask the
-- management table or the guard, because nothing may keep an access from being ended. A membership that the owner of the functions
-- cannot end, because another role has granted it, is named with the statement that ends it.
create function tenant_credentials.end_external_access(held tenant_credentials.claims, spared oid) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  r record;
  through text;
  granter text;
begin
  for r in
    select k.role_oid, coalesce(a.rolname, k.role) as role, k.change = 'granted' as noted, external_member(a.oid) as member
      from (select e.role_oid, (select x.role from external_access x where x.id = e.id) as role, e.change from external_roles(held.tenant_id) e
            union all
            select p.oid, p.rolname, null from pg_authid p where p.rolname = held.role and not exists (select from external_roles(held.tenant_id) e where e.role_oid = p.oid)) k
      left join pg_authid a on a.oid = k.role_oid
     where k.role_oid is distinct from spared
     order by k.role_oid
  loop
    if r.member then
      execute format('revoke tenant_credentials_external from %I', r.role);
    end if;
    if r.member and external_member(r.role_oid) then
      select g.rolname into through from pg_auth_members m join pg_authid g on g.oid = m.roleid
       where m.member = r.role_oid and (g.rolname = 'tenant_credentials_external' or external_member(g.oid)) order by g.rolname limit 1;
      select g.rolname into granter from pg_auth_members m join pg_authid g on g.oid = m.grantor join pg_authid t on t.oid = m.roleid
       where m.member = r.role_oid and t.rolname = through and current_setting('server_version_num')::integer >= 160000 limit 1;
      raise exception using errcode = 'TC012', message = 'role not allowed', detail = json_build_object(
        'code', case when granter is null then 'external_member' else 'external_member_granted' end, 'role', r.role, 'through', through, 'granter', granter)::text;
    end if;
    if r.member or r.noted then
      insert into external_access (tenant_id, uid, change, role, role_oid) values (held.tenant_id, held.uid, 'revoked', r.role, r.role_oid);
    end if;
  end loop;
end
$$;

-- Lets a tenant in from outside, or no longer. Sessions from there are ended by sweep_external_access, in a later transaction. From PostgreSQL 16 on
-- the membership is good for pg_hba.conf alone: it neither inherits the group's rights nor lets a session act as the group.
create function tenant_credentials.set_external_access(tenant uuid, uid text, enabled boolean) returns jsonb
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  present oid;
begin
  if enabled then
    perform from lock(tenant, uid); -- takes over names that the platform has changed
    select a.oid, c.role into present, held.role from guarded(tenant, true) g join pg_authid a on a.rolname = g.role join claims c on c.tenant_id = set_external_access.tenant;
    if to_regrole('tenant_credentials_external') is null then
      raise exception using errcode = 'TC020', message = 'no group for external access', detail = json_build_object('code', 'no_group')::text;
    end if;
  end if;
  perform end_external_access(held, present);
  if enabled and not external_member(present) then
    execute format('grant tenant_credentials_external to %I', held.role) || case when current_setting('server_version_num')::integer >= 160000 then ' with inherit false, set false' else '' end;
  end if;
  if enabled and not exists (select from external_roles(tenant) r where r.role_oid = present and r.change = 'granted') then
    insert into external_access (tenant_id, uid, change, role, role_oid) values (tenant, uid, 'granted', held.role, present);
  end if;
  perform seal();
  return external_json(tenant, coalesce(present, (select a.oid from pg_authid a where a.rolname = held.role)));
end
$$;

-- The rules of pg_hba.conf in their order. They are read from the file, which the server may not have loaded yet.
create function tenant_credentials.hba_rules() returns table (ordinal bigint, line integer, file text, kind text, databases text[], users text[], address text, netmask text, method text, error text)
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
begin
  return query
    select r.ordinality, r.line_number, to_jsonb(r) ->> 'file_name', r.type, r.database, r.user_name, r.address, r.netmask, r.auth_method, r.error -- file_name from 16 on
      from pg_hba_file_rules() with ordinality r;
end
$$;

-- Whether a rule is for an address: null = that cannot be said here, where the rule has a host name, samehost or samenet. The address is null for a
-- Unix-domain socket.
create function tenant_credentials.hba_covers(kind text, rule_address text, rule_netmask text, address inet) returns boolean
language plpgsql immutable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return case
    when address is null or kind = 'local' then address is null and kind = 'local'
    when rule_address = 'all' then true
    when rule_netmask is null or rule_address !~ '^[0-9a-fA-F:.]+$' then null
    when family(rule_address::inet) <> family(address) then false
    else rule_address::inet & rule_netmask::inet = host(address)::inet & rule_netmask::inet
  end;
end
$$;

-- Whether a list of pg_hba.conf has a login, or its database, without the group; null = that cannot be said here, where the list has a regular
-- expression.
create function tenant_credentials.hba_names(list text[], login oid, name text, login_name text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return (
    select case when bool_or(i.is_it) then true when bool_or(i.is_it is null) then null else false end from (
    select case
        when item in ('all', name) then true
        when item = 'sameuser' then name = login_name
        when item in ('samerole', 'samegroup') then exists (select from pg_roles g where g.rolname = name and pg_has_role(login, g.oid, 'MEMBER'))
        when starts_with(item, '+') and item <> '+tenant_credentials_external' then exists (select from pg_roles g where g.rolname = substr(item, 2) and pg_has_role(login, g.oid, 'MEMBER'))
        when starts_with(item, '/') then null
        else false
      end as is_it
      from unnest(list) item) i
  );
end
$$;

-- The sessions of some logins that came from outside: those that no rule of pg_hba.conf would let in now if they were not in the group. The first rule that
-- matches decides. A rule of which that cannot be said (a host name, samehost, samenet, a regular expression) is passed over, unless it requires the group:
-- in doubt a session counts as from outside.
create function tenant_credentials.outside_sessions(logins oid[]) returns setof integer
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return query
    with rules as materialized (select * from hba_rules()) -- the file is parsed once
    select s.pid
      from (select a.pid, a.usesysid, a.usename, a.datname, a.client_addr, coalesce(t.ssl, false) as tls, coalesce(g.encrypted, false) as gss
              from pg_stat_activity a left join pg_stat_ssl t on t.pid = a.pid left join pg_stat_gssapi g on g.pid = a.pid
             where a.usesysid = any (logins) and a.backend_type = 'client backend') s
     where not coalesce((
       select m.covers and m.in_database and m.by_name and m.method <> 'reject'
         from (select r.ordinal, r.method,
                      hba_covers(r.kind, r.address, r.netmask, s.client_addr) as covers, hba_names(r.databases, s.usesysid, s.datname, s.usename) as in_database,
                      hba_names(r.users, s.usesysid, s.usename, s.usename) is true as by_name, '+tenant_credentials_external' = any (r.users) as by_group
                 from rules r
                where case r.kind when 'hostssl' then s.tls when 'hostnossl' then not s.tls when 'hostgssenc' then s.gss when 'hostnogssenc' then not s.gss
                      else r.kind is not null end) m
        where m.covers and m.in_database and m.by_name or m.by_group and m.covers is not false and m.in_database is not false
        order by m.ordinal
        limit 1), false);
end
$$;

-- Ends the external sessions that a membership which has ended had let in, and answers as set_external_access. It is called until nothing is unswept:
-- an external login that was in progress at the end of the membership is seen only once it has succeeded, for which it has
-- authentication_timeout (and 5 s for what a session does between its login and its appearance in pg_stat_activity), counted from a transaction
-- that has seen the end committed. A session whose login is in the group now is let in, and stays.
create function tenant_credentials.sweep_external_access(tenant uuid, uid text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  present oid := (select a.oid from pg_authid a where a.rolname = held.role);
  access jsonb := external_json(tenant, present);
  began timestamptz;
  ended bigint;
begin
  if (access ->> 'unended')::boolean or not (access ->> 'unswept')::boolean then
    return access; -- set_external_access first, or nothing to do
  end if;
  select e.changed_at into began from external_access e where e.tenant_id = sweep_external_access.tenant and e.change = 'sweeping'
     and e.id > (select max(l.id) from external_access l where l.tenant_id = sweep_external_access.tenant and l.change = 'revoked');
  if began is null then
    insert into external_access (tenant_id, uid, change) values (tenant, uid, 'sweeping') returning changed_at into began;
  end if;
  select count(*) filter (where pg_terminate_backend(o.pid)) into ended from outside_sessions(array(
    select l.oid from (select l.oid from logins(tenant, held.role) l
                       union select e.role_oid from external_roles(tenant) e
                       union select (second_login(a.rolname)).oid from external_roles(tenant) e join pg_authid a on a.oid = e.role_oid) l
     where l.oid is not null and not external_member(l.oid))) o (pid);
  if ended = 0 and clock_timestamp() >= began + current_setting('authentication_timeout')::interval + interval '5 s' then
    insert into external_access (tenant_id, uid, change) values (tenant, uid, 'swept');
  end if;
  return external_json(tenant, present);
end
$$;

-- Why pg_hba.conf does not make the group count; null = it does. An error in a line keeps the server from loading the file. A rule for
-- all roles that covers the addresses of the group's rule decides for it where it comes first, and where it comes later lets in roles that are no members.
create function tenant_credentials.external_problem() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  required record;
  wrong record;
begin
  if to_regrole('tenant_credentials_external') is null then
    return jsonb_build_object('code', 'hba_no_group');
  end if;
  select r.* into required from hba_rules() r where r.kind = 'hostssl' and '+tenant_credentials_external' = any (r.users) and r.method <> 'reject' order by r.error is not null, r.ordinal limit 1;
  select r.* into wrong from hba_rules() r where r.error is not null and (r.kind is null or r.ordinal = required.ordinal) order by r.ordinal limit 1;
  if wrong.ordinal is not null then
    return jsonb_build_object('code', 'hba_error', 'line', wrong.line, 'file', left(coalesce(wrong.file, 'pg_hba.conf'), 256), 'error', left(wrong.error, 256));
  elsif required.ordinal is null then
    return jsonb_build_object('code', 'hba_no_rule');
  end if;
  select r.* into wrong from hba_rules() r
   where r.kind <> 'local' and 'all' = any (r.users) and 'all' = any (r.databases)
     and (r.method <> 'reject' or r.ordinal < required.ordinal and r.kind in ('host', 'hostssl'))
     and case when r.address = 'all' then true
              when required.address = 'all' then r.netmask in ('0.0.0.0', '::')
              when required.netmask is null or required.address !~ '^[0-9a-fA-F:.]+$' then r.address = required.address
              when hba_covers(r.kind, r.address, r.netmask, required.address::inet) then r.netmask::inet & required.netmask::inet = r.netmask::inet
              else false end
   order by r.ordinal
   limit 1;
  return case when wrong.ordinal is not null then
    jsonb_build_object('code', 'hba_for_all', 'line', wrong.line, 'file', left(coalesce(wrong.file, 'pg_hba.conf'), 256), 'required', required.line) end;
exception when system_error or insufficient_privilege then -- the file cannot be read
  return jsonb_build_object('code', 'hba_unreadable', 'sqlstate', sqlstate);
end
$$;
-- +goose StatementEnd

reset role;
