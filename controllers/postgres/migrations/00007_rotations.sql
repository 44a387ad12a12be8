-- +goose Up
set local role tenant_credentials_owner;

-- +goose StatementBegin
-- Records the intent to rotate. It answers with the open row that exists already, and says whether this call has made it: an attempt that was
-- given up is begun again under its own revision, so that revisions count rotations. A caller that has not seen the newest
-- committed rotation decided on an outdated read, and is refused: it would rotate once more for a rotation that is done. The new revision is above every
-- one that was ever seen, also above those that a failover has lost; above is bounded, because a revision at the end of its type could have no
-- successor.
create function tenant_credentials.open(tenant uuid, uid text, generation bigint, cause text, stated_manager text, after bigint,
                                        above bigint, reason text default '', requested_by text default '', request_id text default '') returns jsonb
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  opened rotations;
  newest rotations;
begin
  if above is null or above not between 0 and 1000000000 then
    raise exception using errcode = 'TC026', message = 'revision out of range', detail = json_build_object('revision', coalesce(above::text, 'NULL'))::text;
  end if;
  select * into opened from rotations r where r.tenant_id = tenant and r.state in ('open', 'issued');
  if opened.tenant_id is not null then
    return rotation_json(opened);
  end if;
  if after <> coalesce((select max(r.revision) from rotations r where r.tenant_id = tenant and r.state in ('committed', 'rolled', 'completed')), 0) then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'committed_meanwhile')::text;
  end if;
  select * into newest from rotations r where r.tenant_id = tenant order by r.revision desc limit 1;
  opened.tenant_id := tenant;
  opened.revision := greatest(newest.revision, above, 0) + 1;
  opened.state := 'open';
  opened.generation := open.generation;
  opened.cause := open.cause;
  opened.reason := open.reason;
  opened.requested_by := open.requested_by;
  opened.request_id := open.request_id;
  opened.stated_manager := open.stated_manager;
  opened.role := held.role;
  opened.opened_at := clock_timestamp();
  opened.session_policy := 'Keep';
  if newest.state = 'discarded' and newest.revision > above then
    opened.revision := newest.revision;
    update rotations r
       set (state, generation, cause, reason, requested_by, request_id, stated_manager, role, login, login_oid, verifier_digest, opened_at, session_policy, closed_at, closings, logins_in_progress, quiet_at)
         = (opened.state, opened.generation, opened.cause, opened.reason, opened.requested_by, opened.request_id, opened.stated_manager, opened.role, null, null, null, opened.opened_at, opened.session_policy, null, null, null, null)
     where r.tenant_id = tenant and r.revision = opened.revision;
  else
    insert into rotations select opened.*;
  end if;
  return rotation_json(opened) || jsonb_build_object('made', true);
end
$$;

-- Locks the tenant's claim and row, and answers with what is there now: each statement of a function sees what was committed before
-- it began, so this reads after the wait for the lock. Names that the platform has changed since are taken over into the claim.
create function tenant_credentials.lock(tenant uuid, uid text) returns setof tenant_credentials.standing
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  present record;
begin
  perform lock_managed(tenant);
  select * into present from names(array[tenant]);
  if present.found and (held.role, held.database, held.fly_app) is distinct from (present.role, present.database, present.fly_app) then
    held.role := present.role;
    held.database := present.database;
    held.fly_app := present.fly_app;
    perform put_claim(held, false);
  end if;
  return query select k.* from known(array[tenant]) k;
end
$$;

-- Alters a login in two steps. An error is raised again by SQLSTATE alone: its CONTEXT would print the statement, and with it the verifier.
-- The first ALTER is there to wait for the role's row, because the server may log a wait together with the statement that waits
-- (log_lock_waits). A prepared transaction that holds the row has no session that could be ended, so it is named.
create function tenant_credentials.alter_login(login text, first text, second text) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  refused text;
  prepared record;
begin
  begin
    execute format('alter role %I ', login) || first;
    execute format('alter role %I ', login) || second;
  exception when query_canceled or others then
    refused := case when sqlstate = 'XX000' and sqlerrm = 'tuple concurrently updated' then '40001' else sqlstate end;
  end;
  if refused = '55P03' then
    select left(regexp_replace(x.gid, '[^ -~]', '?', 'g'), 64) as gid, x.owner, x.database into prepared from pg_prepared_xacts x
     where exists (select from pg_locks t join pg_locks l using (virtualtransaction)
                    where t.pid is null and t.locktype = 'transactionid' and t.transactionid = x.transaction
                      and l.pid is null and l.relation in ('pg_authid'::regclass, 'pg_auth_members'::regclass, 'pg_db_role_setting'::regclass))
     order by x.owner <> login, x.prepared
     limit 1;
    if prepared.gid is not null then
      raise exception using errcode = 'TC022', message = 'prepared transaction',
        detail = json_build_object('role', login, 'owner', prepared.owner, 'gid', prepared.gid, 'database', prepared.database)::text;
    end if;
  end if;
  if refused is not null then
    raise exception using errcode = refused, message = 'ALTER ROLE failed.';
  end if;
end
$$;

-- Sets a login's verifier, with which it may log in.
create function tenant_credentials.set_verifier(login text, verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  perform alter_login(login, 'login', format('password %L', verifier));
end
$$;

-- The row that a step is about; its claim is locked by hold.
create function tenant_credentials.expect(tenant uuid, revision bigint, variadic expected text[]) returns tenant_credentials.rotations
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  r rotations;
begin
  select * into r from rotations t where t.tenant_id = tenant and t.revision = expect.revision;
  if r.state is null or r.state <> all (expected) then
    raise exception using errcode = 'TC017', message = 'outdated',
      detail = json_build_object('code', case when r.state is null then 'no_revision' else 'state' end, 'revision', revision, 'state', r.state, 'expected', expected)::text;
  end if;
  return r;
end
$$;

-- Keeps a login from being used any more.
create function tenant_credentials.close_login(login text) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  perform alter_login(login, 'nologin', 'password null');
end
$$;

-- A string that is not a verifier would be taken for a password, and then stand in the server's memory. The pattern has no backslash, so that
-- standard_conforming_strings does not matter.
create function tenant_credentials.check_verifier(verifier text) returns void
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  if verifier is null then
    raise exception using errcode = 'TC018', message = 'not a verifier', detail = json_build_object('code', 'verifier_null')::text;
  elsif verifier !~ '^SCRAM-SHA-256[$][1-9][0-9]{3,6}:[A-Za-z0-9+/]{22,86}={0,2}[$][A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$' then
    raise exception using errcode = 'TC018', message = 'not a verifier';
  end if;
end
$$;

-- The tenant's names, once the guard has passed its role.
create function tenant_credentials.guarded(tenant uuid, without_login boolean default false) returns table (role text, database text, login text)
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  present record;
begin
  select n.*, c.role as claimed, active_login(tenant, n.role) as active into present from names(array[tenant]) n join claims c on c.tenant_id = n.tenant_id;
  if not present.found then
    raise exception using errcode = 'TC010', message = 'no row for the tenant';
  elsif present.copies > 1 then
    raise exception using errcode = 'TC012', message = 'role not allowed', detail = copies_violation(present.copies)::text;
  end if;
  if present.role <> present.claimed then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'role_changed')::text;
  end if;
  perform guard(present.role, present.database, present.active, without_login);
  return query select present.role, present.database, present.active;
end
$$;

-- Gives the idle login of the pair a verifier, before any consumer uses it. While consumers are being moved from the one login to the
-- other, neither is idle.
-- It answers with the login, and the names of the role's settings that it could not be given.
create function tenant_credentials.issue(tenant uuid, uid text, revision bigint, verifier text, out login text, out left_out text[])
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  opened rotations := expect(tenant, revision, 'open', 'issued');
  present record;
  idle text;
  violation jsonb;
begin
  perform check_verifier(verifier);
  if opened.closed_at is not null then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'logins_closed')::text;
  end if;
  select * into present from guarded(tenant);
  if exists (select from rotations r where r.tenant_id = tenant and r.state = 'committed') then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'moving')::text;
  end if;
  violation := second_violation(present.role, present.database);
  if violation is not null then
    raise exception using errcode = 'TC012', message = 'role not allowed', detail = violation::text;
  end if;
  idle := (other_login(present.role, present.login)).rolname;
  left_out := '{}';
  if idle <> present.role then
    left_out := carry_over(present.role, idle);
  end if;
  perform set_verifier(idle, verifier);
  update rotations r
     set state = 'issued', role = present.role, login = idle, login_oid = (select a.oid from pg_authid a where a.rolname = idle),
         verifier_digest = (select sha256(convert_to(a.rolpassword, 'UTF8')) from pg_authid a where a.rolname = idle)
   where r.tenant_id = tenant and r.revision = opened.revision;
  login := idle;
  perform seal();
end
$$;

-- Changes the verifier and the stored hash; where the idle login was issued the password already, the hash alone. The row is staged: a
-- transaction that ends here cannot be committed. Where a previous rotation has sessions still to be ended, this one takes that over. After a
-- compromise the new password goes to the login in use, and only once close has found no earlier session or login left: a session of the tenant
-- can set a password of its own, at any moment. login_checked says that a login with the password has succeeded already.
create function tenant_credentials.stage(tenant uuid, uid text, revision bigint, verifier text, delivery_digest bytea, session_policy text default 'Keep',
                                         login_checked boolean default false) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  opened rotations := expect(tenant, revision, 'open', 'issued');
  present record;
  digest bytea := sha256(convert_to(verifier, 'UTF8'));
  policies text[] := array(select r.session_policy from rotations r where r.tenant_id = tenant and r.state in ('committed', 'rolled') and r.sessions_ended_at is null)
                     || session_policy;
begin
  perform check_verifier(verifier);
  select * into present from guarded(tenant, opened.closed_at is not null);
  if opened.closed_at is not null or 'Compromised' = any (policies) then
    if opened.quiet_at is null or opened.role <> present.role or not closed(tenant, present.role) then
      raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'not_closed', 'revision', revision)::text;
    end if;
    opened.login := present.login;
    perform set_verifier(opened.login, verifier);
  elsif opened.state = 'open' then
    opened.login := present.login;
    perform set_verifier(opened.login, verifier);
  elsif opened.role <> present.role or opened.verifier_digest is distinct from digest
     or opened.verifier_digest is distinct from (select sha256(convert_to(a.rolpassword, 'UTF8')) from pg_authid a where a.rolname = opened.login and a.rolcanlogin) then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'not_issued', 'login', opened.login)::text;
  end if;
  perform write_managed(tenant, verifier);
  if (select m.hash_digest from read_managed(array[tenant]) m) is distinct from digest then
    raise exception using errcode = 'TC019', message = 'hash not kept', detail = json_build_object('code', 'hash_not_kept')::text;
  end if;
  update rotations r
     set state = 'staged', role = present.role, login = opened.login, login_oid = (select a.oid from pg_authid a where a.rolname = opened.login), hash_digest = digest, delivery_digest = stage.delivery_digest,
         session_policy = case when opened.closed_at is not null then 'Compromised' when 'Terminate' = any (policies) then 'Terminate'
                               else stage.session_policy end,
         sessions_before = opened.quiet_at, sessions_ended_at = opened.quiet_at,
         login_checked_at = case when stage.login_checked then clock_timestamp() end,
         verifier_digest = (select sha256(convert_to(a.rolpassword, 'UTF8')) from pg_authid a where a.rolname = opened.login)
   where r.tenant_id = tenant and r.revision = opened.revision;
end
$$;

-- Records Fly's answer; the SQL COMMIT that follows, and is all that may follow, makes all of it true. An older rotation that is not completed is superseded.
-- It answers with the tenant as COMMIT leaves it.
create function tenant_credentials.commit(tenant uuid, uid text, revision bigint, fly_app text, fly_version numeric, fly_digest text, fly_instances text[] default null)
returns setof tenant_credentials.standing
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  staged rotations := expect(tenant, revision, 'staged');
begin
  update rotations r set state = 'superseded' where r.tenant_id = tenant and r.state in ('committed', 'rolled');
  update rotations r
     set state = 'committed', committed_at = clock_timestamp(), fly_app = nullif(commit.fly_app, ''),
         fly_secret_version = commit.fly_version, fly_secret_digest = nullif(commit.fly_digest, ''), fly_instances = commit.fly_instances
   where r.tenant_id = tenant and r.revision = staged.revision;
  perform seal();
  return query select k.* from known(array[tenant], true) k;
end
$$;

-- A login with the password of a committed rotation has succeeded.
create function tenant_credentials.login_checked(tenant uuid, uid text, revision bigint) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  r rotations := expect(tenant, revision, 'committed', 'rolled');
begin
  update rotations t set login_checked_at = clock_timestamp() where t.tenant_id = tenant and t.revision = r.revision and t.login_checked_at is null;
end
$$;

-- Every consumer has the new value, and with it the other login. From now on the previous one has its grace.
create function tenant_credentials.rolled(tenant uuid, uid text, revision bigint) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  r rotations := expect(tenant, revision, 'committed', 'rolled');
begin
  if r.state = 'committed' then
    update rotations t set state = 'rolled', rolled_at = clock_timestamp() where t.tenant_id = tenant and t.revision = r.revision;
  end if;
end
$$;

-- Closes the login that the consumers have left when its grace is over, or with once_idle already when no session of it is left. It answers
-- whether the login is closed and, where what is left is to be ended, has no session any more. One call closes it and a later one ends its
-- sessions: a login that comes between the two ends of a transaction would be overlooked.
create function tenant_credentials.retire(tenant uuid, uid text, revision bigint, grace interval, once_idle boolean, end_sessions boolean) returns boolean
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  r rotations := expect(tenant, revision, 'rolled');
  previous name[] := array(select l.rolname from logins(tenant, r.role) l where l.rolname <> r.login);
  left_over boolean := exists (select from pg_stat_activity a where a.usename = any (previous));
begin
  if others_open(tenant, r.role, r.login) then
    if once_idle and not left_over or clock_timestamp() >= r.rolled_at + grace then
      perform close_login(f) from unnest(previous) f;
    end if;
    return false;
  end if;
  if end_sessions then
    perform pg_terminate_backend(a.pid) from pg_stat_activity a where a.usename = any (previous);
  end if;
  return not (end_sessions and left_over);
end
$$;

-- complete, for a row whose claim is locked.
create function tenant_credentials.mark_completed(held tenant_credentials.claims, r tenant_credentials.rotations) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  if r.login_checked_at is null then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'login_unchecked', 'revision', r.revision)::text;
  end if;
  if others_open(r.tenant_id, r.role, r.login) then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'login_open', 'revision', r.revision)::text;
  end if;
  if (select sha256(convert_to(a.rolpassword, 'UTF8')) from pg_authid a where a.rolname = r.login) is distinct from r.verifier_digest then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'password_changed', 'login', r.login, 'revision', r.revision)::text;
  end if;
  if r.session_policy <> 'Keep' and r.sessions_ended_at is null then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'sessions_left', 'revision', r.revision)::text;
  end if;
  update rotations t set state = 'completed', completed_at = clock_timestamp() where t.tenant_id = r.tenant_id and t.revision = r.revision;
  update claims c set generation = greatest(held.generation, r.generation) where c.tenant_id = r.tenant_id;
end
$$;

-- Every consumer has the new value, with which a login has succeeded, and no other login can be used. The claim's generation is the highest
-- that was completed. It answers with the tenant as it is then.
create function tenant_credentials.complete(tenant uuid, uid text, revision bigint) returns setof tenant_credentials.standing
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  r rotations;
begin
  select * into r from rotations t where t.tenant_id = tenant and t.revision = complete.revision;
  if r.state is distinct from 'completed' then
    perform mark_completed(held, expect(tenant, revision, 'committed', 'rolled'));
  end if;
  perform seal();
  return query select k.* from known(array[tenant]) k;
end
$$;

-- Ends the sessions that were opened with a password from before a committed rotation, where sweep says so, and answers whether there can
-- be none any more. A session that began before the first call is an earlier one: the call comes after COMMIT. A login that was in progress at that moment
-- is seen only once it has succeeded, for which it has authentication_timeout; so the look that finds nothing has to come later than that
-- (with 5 s for what a session does between its login and its appearance in pg_stat_activity). While the previous login is still open, all of
-- its sessions are earlier ones, so nothing is noted until it has been closed.
create function tenant_credentials.end_sessions(tenant uuid, uid text, revision bigint, sweep boolean) returns boolean
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  r rotations := expect(tenant, revision, 'committed', 'rolled');
  ended bigint;
begin
  if r.sessions_ended_at is not null then
    return true;
  end if;
  if others_open(tenant, r.role, r.login) then
    return false;
  end if;
  if r.sessions_before is null then
    r.sessions_before := clock_timestamp();
    update rotations t set sessions_before = r.sessions_before where t.tenant_id = tenant and t.revision = r.revision;
  end if;
  if not sweep then
    return false;
  end if;
  select count(*) filter (where pg_terminate_backend(a.pid)) into ended
    from pg_stat_activity a where a.usename in (select l.rolname from logins(tenant, r.role) l) and a.backend_start < r.sessions_before;
  if ended > 0 or clock_timestamp() < r.sessions_before + current_setting('authentication_timeout')::interval + interval '5 s' then
    return false;
  end if;
  update rotations t set sessions_ended_at = clock_timestamp() where t.tenant_id = tenant and t.revision = r.revision;
  return true;
end
$$;

-- The virtual transactions of logins in progress. A backend begins one before it authenticates, and is known to pg_stat_activity, with its
-- user, before that one ends (InitPostgres, on 15 to 18). So the locks are read first: a login that ends between the two looks is in one of them.
create function tenant_credentials.logins_in_progress() returns text[]
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  backends jsonb := (select coalesce(jsonb_object_agg(l.pid, l.virtualxid), '{}') from pg_locks l
                      where l.locktype = 'virtualxid' and l.virtualxid = l.virtualtransaction and l.pid is not null);
begin
  perform pg_stat_clear_snapshot();
  return array(
    select b.value from jsonb_each_text(backends) b
     where not exists (select from pg_stat_activity a where a.pid = b.key::integer and (a.usesysid is not null or a.backend_type <> 'client backend')));
end
$$;

-- Whether no login of the tenant can log in.
create function tenant_credentials.closed(tenant uuid, role text) returns boolean
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return not exists (select from logins(closed.tenant, closed.role) l where l.rolcanlogin);
end
$$;

create function tenant_credentials.close_logins(tenant uuid, role text) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  perform close_login(l.rolname) from logins(close_logins.tenant, close_logins.role) l;
end
$$;

-- After a compromise, before the new password is set: closes every login of the tenant, ends its sessions, and answers whether only the operator
-- can set a password from now on, and no login that began before can succeed. Until then it is called again, each time in a transaction of its
-- own, as only what is committed keeps a login out. docs/adr/0011 says why it closes twice: a session that is still there after the first
-- time can set a password, with which a login begins; that login is in progress at the second time.
create function tenant_credentials.close(tenant uuid, uid text, revision bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  r rotations := expect(tenant, revision, 'open', 'issued');
  present record;
  in_progress text[];
begin
  select * into present from guarded(tenant, true);
  r.quiet_at := null;
  if r.closed_at is null or r.role <> present.role or not closed(tenant, present.role) then
    r.role := present.role;
    r.closed_at := clock_timestamp();
    r.closings := 0;
  else
    in_progress := logins_in_progress();
    perform pg_terminate_backend(a.pid) from pg_stat_activity a where a.usename in (select l.rolname from logins(tenant, r.role) l);
    if found then
      r.closings := least(r.closings, 1);
      r.logins_in_progress := null; -- as they are once the sessions are gone
    else
      r.logins_in_progress := array(select unnest(coalesce(r.logins_in_progress, in_progress)) intersect select unnest(in_progress));
    end if;
  end if;
  if r.closings = 0 or r.closings = 1 and r.logins_in_progress = '{}' then
    perform close_logins(tenant, r.role);
    r.closings := r.closings + 1;
    r.logins_in_progress := null;
  elsif r.logins_in_progress = '{}' then
    r.quiet_at := clock_timestamp();
  end if;
  update rotations t
     set role = r.role, closed_at = r.closed_at, closings = r.closings, logins_in_progress = r.logins_in_progress, quiet_at = r.quiet_at
   where t.tenant_id = tenant and t.revision = r.revision;
  perform seal();
  return r.quiet_at is not null;
end
$$;

-- Gives up a rotation that was not committed. The password that was issued was never delivered, so its login is closed; logins that were closed
-- after a compromise stay so, without their passwords.
create function tenant_credentials.discard(tenant uuid, uid text, revision bigint) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  r rotations;
begin
  select * into r from rotations t where t.tenant_id = tenant and t.revision = discard.revision;
  if r.state = 'discarded' then
    return;
  end if;
  r := expect(tenant, revision, 'open', 'issued');
  if r.closed_at is not null then
    perform close_logins(tenant, r.role);
  elsif r.state = 'issued' and r.login <> active_login(tenant, r.role) then
    perform close_login(r.login);
  end if;
  update rotations t set state = 'discarded' where t.tenant_id = tenant and t.revision = r.revision;
end
$$;

-- Ends the sessions of the tenant's own logins that one of the caller's sessions waits for, and answers how many: a tenant that keeps
-- a transaction open on its own role must not be able to keep its password from being changed. Which of the caller's sessions is not asked: a
-- pooler gives none of them a process ID that the server knows.
create function tenant_credentials.terminate(tenant uuid, uid text) returns integer
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  ended integer;
begin
  perform own_statement();
  select count(*) filter (where pg_terminate_backend(a.pid)) into ended
    from claims c
    join pg_stat_activity a on a.usename in (select l.rolname from logins(c.tenant_id, c.role) l)
   where c.tenant_id = tenant and c.uid = terminate.uid
     and exists (select from pg_locks l join pg_stat_activity b on b.pid = l.pid
                  where not l.granted and b.usename = session_user and a.pid = any (pg_blocking_pids(l.pid)));
  return ended;
end
$$;
-- +goose StatementEnd

reset role;
