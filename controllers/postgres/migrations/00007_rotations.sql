-- +goose Up
set local role tenant_credentials_owner;

-- +goose StatementBegin
-- Records the intent to rotate. It answers with the open row that exists already. Who has not seen the newest rotation that is
-- committed decided on what is no longer so, and is refused: he would rotate once more for what is done. The new revision is above every
-- one that was ever seen, also above those that a failover has lost.
create function tenant_credentials.open(tenant uuid, uid text, generation bigint, reason text, field_manager text, after bigint,
                                        above bigint, request_reason text default '', requested_by text default '') returns jsonb
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  opened rotations;
begin
  select * into opened from rotations r where r.tenant_id = tenant and r.state = 'open';
  if opened.tenant_id is null then
    if after <> coalesce((select max(r.revision) from rotations r where r.tenant_id = tenant and r.state in ('committed', 'completed')), 0) then
      raise exception using errcode = 'TC017', message = 'Another rotation was committed in between.';
    end if;
    insert into rotations (tenant_id, revision, state, generation, reason, request_reason, requested_by, field_manager, role, opened_at)
      values (tenant, greatest((select max(r.revision) from rotations r where r.tenant_id = tenant), above, 0) + 1,
              'open', open.generation, open.reason, open.request_reason, open.requested_by, open.field_manager, held.role, clock_timestamp())
      returning * into opened;
  end if;
  return rotation_json(opened);
end
$$;

-- Locks the tenant's claim and row, and answers with what is there now: each statement of a function sees what was committed before
-- it began, so this reads after the wait for the lock. Names that the platform has changed since are taken over into the claim.
create function tenant_credentials.lock(tenant uuid, uid text)
returns table (tenant_id text, found boolean, role text, database text, fly_app text, role_exists boolean, role_violation text,
               verifier_digest text, hash_digest text, claim jsonb, open_rotation jsonb, last_rotation jsonb, compromised_revision bigint,
               clock timestamptz)
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
  return query select o.* from observe(array[tenant]) o;
end
$$;

-- Sets a role's verifier. An error is raised again by SQLSTATE alone: its CONTEXT would print the statement, and with it the verifier.
-- The first ALTER changes nothing and is there to wait for the role's row, because the server may log a wait together with the
-- statement that waits (log_lock_waits).
create function tenant_credentials.set_verifier(role text, verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  refused text;
begin
  begin
    execute format('alter role %I login', role);
    execute format('alter role %I password %L', role, verifier);
  exception when query_canceled or others then
    refused := case when sqlstate = 'XX000' and sqlerrm = 'tuple concurrently updated' then '40001' else sqlstate end;
  end;
  if refused is not null then
    raise exception using errcode = refused, message = 'ALTER ROLE failed.';
  end if;
end
$$;

-- The row that a step of the transaction is about, locked together with its claim.
create function tenant_credentials.expect(tenant uuid, revision bigint, expected text) returns tenant_credentials.rotations
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  r rotations;
begin
  perform begin_change();
  perform from claims c where c.tenant_id = tenant for no key update;
  select * into r from rotations t where t.tenant_id = tenant and t.revision = expect.revision;
  if r.state is distinct from expected then
    raise exception using errcode = 'TC017',
      message = format('Revision %s is %s, not %s.', revision, coalesce(r.state, 'not in the ledger'), expected);
  end if;
  return r;
end
$$;

-- Changes the role's verifier and the stored hash. The row is staged: a transaction that ends here can not be committed. Where a former
-- rotation has sessions still to be ended, this one takes that over.
create function tenant_credentials.stage(tenant uuid, revision bigint, verifier text, delivery_digest bytea, session_policy text default 'Keep')
returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  opened rotations := expect(tenant, revision, 'open');
  present record;
  digest bytea := sha256(convert_to(verifier, 'UTF8'));
  policies text[] := array(select r.session_policy from rotations r where r.tenant_id = tenant and r.state = 'committed' and r.sessions_ended_at is null)
                     || session_policy;
begin
  if verifier !~ '^SCRAM-SHA-256\$[1-9][0-9]{3,6}:[A-Za-z0-9+/]{22,86}={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$' then
    raise exception using errcode = 'TC018', message = 'What was given is not a SCRAM-SHA-256 verifier.';
  end if;
  select n.*, c.role as claimed into present from names(array[tenant]) n join claims c on c.tenant_id = n.tenant_id;
  if not present.found then
    raise exception using errcode = 'TC010', message = 'The management table has no row for the tenant.';
  end if;
  if present.role <> present.claimed then
    raise exception using errcode = 'TC017', message = 'The tenant''s role has changed: lock first.';
  end if;
  perform guard(present.role, present.database);
  perform set_verifier(present.role, verifier);
  perform write_managed(tenant, verifier);
  if (select m.hash_digest from read_managed(array[tenant]) m) is distinct from digest then
    raise exception using errcode = 'TC019', message = 'The management table does not keep the hash that is written (a trigger, or a limit).';
  end if;
  update rotations r
     set state = 'staged', role = present.role, hash_digest = digest, delivery_digest = stage.delivery_digest,
         session_policy = case when 'Compromised' = any (policies) then 'Compromised' when 'Terminate' = any (policies) then 'Terminate'
                               else stage.session_policy end,
         verifier_digest = (select sha256(convert_to(a.rolpassword, 'UTF8')) from pg_authid a where a.rolname = present.role)
   where r.tenant_id = tenant and r.revision = opened.revision;
end
$$;

-- Records Fly's answer; the SQL COMMIT that follows makes all of it true. An older rotation that is not completed is superseded.
create function tenant_credentials.commit(tenant uuid, revision bigint, fly_app text, fly_version numeric, fly_digest text) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  staged rotations := expect(tenant, revision, 'staged');
begin
  update rotations r set state = 'superseded' where r.tenant_id = tenant and r.state = 'committed';
  update rotations r
     set state = 'committed', committed_at = clock_timestamp(), fly_app = nullif(commit.fly_app, ''),
         fly_secret_version = commit.fly_version, fly_secret_digest = nullif(commit.fly_digest, '')
   where r.tenant_id = tenant and r.revision = staged.revision;
end
$$;

-- Every consumer has the new value. The claim's generation is the highest that was completed.
create function tenant_credentials.complete(tenant uuid, uid text, revision bigint) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  r rotations;
begin
  select * into r from rotations t where t.tenant_id = tenant and t.revision = complete.revision;
  if r.state = 'completed' then
    return;
  end if;
  r := expect(tenant, revision, 'committed');
  if r.session_policy <> 'Keep' and r.sessions_ended_at is null then
    raise exception using errcode = 'TC017', message = format('Sessions of before revision %s may still be there: end_sessions says when not.', revision);
  end if;
  update rotations t set state = 'completed', completed_at = clock_timestamp() where t.tenant_id = tenant and t.revision = r.revision;
  update claims c set generation = greatest(held.generation, r.generation) where c.tenant_id = tenant;
end
$$;

-- Ends the sessions that were opened with a password of before a committed rotation, where sweep says so, and answers whether there can
-- be none any more. What began before the first call is of before: the call comes after COMMIT. A login that was under way at that moment
-- is seen only once it has succeeded, for which it has authentication_timeout; so the look that finds nothing has to come later than that
-- (with 5 s for what a session does between its login and its appearance in pg_stat_activity).
create function tenant_credentials.end_sessions(tenant uuid, uid text, revision bigint, sweep boolean) returns boolean
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims := hold(tenant, uid);
  r rotations := expect(tenant, revision, 'committed');
  ended bigint;
begin
  if r.sessions_ended_at is not null then
    return true;
  end if;
  if r.sessions_before is null then
    r.sessions_before := clock_timestamp();
    update rotations t set sessions_before = r.sessions_before where t.tenant_id = tenant and t.revision = r.revision;
  end if;
  if not sweep then
    return false;
  end if;
  select count(*) filter (where pg_terminate_backend(a.pid)) into ended
    from pg_stat_activity a where a.usename = r.role and a.backend_start < r.sessions_before;
  if ended > 0 or clock_timestamp() < r.sessions_before + current_setting('authentication_timeout')::interval + interval '5 s' then
    return false;
  end if;
  update rotations t set sessions_ended_at = clock_timestamp() where t.tenant_id = tenant and t.revision = r.revision;
  return true;
end
$$;

-- Gives up an open rotation.
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
  r := expect(tenant, revision, 'open');
  update rotations t set state = 'discarded' where t.tenant_id = tenant and t.revision = r.revision;
end
$$;

-- Ends the sessions of the tenant's own role that one of the caller's sessions waits for, and answers how many: a tenant that keeps
-- a transaction open on its own role must not be able to keep its password from being changed.
create function tenant_credentials.terminate(tenant uuid, blocked_pid integer) returns integer
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  ended integer;
begin
  select count(*) filter (where pg_terminate_backend(a.pid)) into ended
    from claims c
    join pg_stat_activity a on a.usename = c.role
   where c.tenant_id = tenant and a.pid = any (pg_blocking_pids(blocked_pid))
     and exists (select from pg_stat_activity b where b.pid = blocked_pid and b.usename = session_user);
  return ended;
end
$$;
-- +goose StatementEnd

reset role;
