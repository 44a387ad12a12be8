-- +goose Up
set local role tenant_credentials_owner;

-- +goose StatementBegin
-- Every function that changes something begins with this. REPEATABLE READ would decide on outdated rows; and a change that
-- was answered must survive a crash of the server, with any default of synchronous_commit.
create function tenant_credentials.begin_change() returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  perform own_statement();
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception using errcode = 'TC001', message = 'isolation level', detail = json_build_object('level', current_setting('transaction_isolation'))::text;
  end if;
  perform set_config('lock_timeout', '3s', true);
  -- A verifier is a parameter of a later statement of the transaction: neither log_statement and the like, nor the context of an
  -- error, nor auto_explain (which prints parameters from PostgreSQL 16 on) shall print it.
  perform set_config('log_parameter_max_length', '0', true);
  perform set_config('log_parameter_max_length_on_error', '0', true);
  if current_setting('server_version_num')::integer >= 160000 then
    perform set_config('auto_explain.log_parameter_max_length', '0', true);
  end if;
  if current_setting('synchronous_commit') <> 'remote_apply' then
    perform set_config('synchronous_commit', 'on', true);
  end if;
end
$$;

create function tenant_credentials.holder(c tenant_credentials.claims) returns json
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return json_build_object('namespace', c.namespace, 'name', c.name, 'environment', c.environment, 'cluster', c.cluster);
end
$$;

-- Raises NameConflict for the unique index that two tenants share an entry of.
create function tenant_credentials.raise_name_conflict(violated text, tenant uuid) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
  n record;
  other uuid;
  kind text;
  taken text;
  column_name text;
begin
  select * into s from settings;
  select * into n from names(array[tenant]);
  if violated = 'claims_role_key' then
    kind := 'role';
    taken := n.role;
    column_name := s.column_role;
    select c.tenant_id into other from claims c where c.role = n.role;
  else
    kind := 'app';
    taken := n.fly_app;
    column_name := s.column_fly_app;
    select c.tenant_id into other from claims c where c.fly_app = n.fly_app;
  end if;
  raise exception using errcode = 'TC013', message = 'name conflict', detail = json_build_object(
    'code', kind || case when column_name = '' then '_without_column' else '_taken' end, 'tenant', coalesce(other::text, '(another one)'),
    'name', left(taken, 64), 'column', nullif(column_name, ''), 'schema', s.management_schema, 'table', s.management_table)::text;
end
$$;

-- Writes a claim; the caller holds the lock of the one that there is.
create function tenant_credentials.put_claim(new_claim tenant_credentials.claims, is_first boolean) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  written bigint;
  violated text;
begin
  if is_first then
    insert into claims select new_claim.* on conflict (tenant_id) do nothing;
  else
    update claims c
       set (role, database, fly_app, uid, cluster, environment, namespace, name, generation, verifier_digest, hash_digest, adopted_at)
         = (new_claim.role, new_claim.database, new_claim.fly_app, new_claim.uid, new_claim.cluster, new_claim.environment,
            new_claim.namespace, new_claim.name, new_claim.generation, new_claim.verifier_digest, new_claim.hash_digest, new_claim.adopted_at)
     where c.tenant_id = new_claim.tenant_id;
  end if;
  get diagnostics written = row_count;
  if written = 0 then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'adopted_meanwhile')::text;
  end if;
exception when unique_violation then
  get stacked diagnostics violated = constraint_name;
  perform raise_name_conflict(violated, new_claim.tenant_id);
end
$$;

-- Makes the claim on a tenant, or moves it to another object: of the same cluster once the caller has seen that the holder is gone,
-- of another cluster when the user says so. It answers with the tenant as it is then.
create function tenant_credentials.adopt(tenant uuid, uid text, cluster text, environment text, namespace text, name text,
                                         replaces_uid text, take_over_from text) returns setof tenant_credentials.standing
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  held claims;
  granted claims;
  present record;
begin
  perform begin_change();
  select * into held from claims c where c.tenant_id = adopt.tenant for no key update;
  if held.uid = adopt.uid then
    perform seal();
    return query select k.* from known(array[tenant]) k;
    return;
  end if;
  if held.cluster = adopt.cluster and held.uid is distinct from adopt.replaces_uid
     or held.cluster <> adopt.cluster and held.cluster is distinct from adopt.take_over_from then
    raise exception using errcode = 'TC014', message = 'not the holder', detail = holder(held)::text;
  end if;
  select n.*, sha256(convert_to(a.rolpassword, 'UTF8')) as verifier_digest into present
    from names(array[adopt.tenant]) n left join pg_authid a on a.rolname = active_login(adopt.tenant, n.role);
  if not present.found then
    raise exception using errcode = 'TC010', message = 'no row for the tenant';
  elsif present.copies > 1 then
    raise exception using errcode = 'TC012', message = 'role not allowed', detail = copies_violation(present.copies)::text;
  end if;
  perform guard(present.role, present.database, active_login(adopt.tenant, present.role), exists (
    select from rotations r where r.tenant_id = adopt.tenant and r.state in ('open', 'issued') and r.closed_at is not null));
  granted := row(adopt.tenant, present.role, present.database, present.fly_app, adopt.uid, adopt.cluster,
                 adopt.environment, adopt.namespace, adopt.name,
                 coalesce(held.generation, 0), -- a completed rotation stays done under any holder
                 present.verifier_digest, present.hash_digest, clock_timestamp());
  perform put_claim(granted, held.tenant_id is null);
  insert into adoptions (tenant_id, uid, cluster, environment, namespace, name, generation, previous_uid, previous_cluster, adopted_at)
    values (adopt.tenant, adopt.uid, adopt.cluster, adopt.environment, adopt.namespace, adopt.name, granted.generation,
            held.uid, held.cluster, granted.adopted_at);
  perform seal();
  return query select k.* from known(array[tenant]) k;
end
$$;

-- Locks the claim and answers with it. A caller that does not hold the tenant is refused.
create function tenant_credentials.hold(tenant uuid, holder_uid text) returns tenant_credentials.claims
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  held claims;
begin
  perform begin_change();
  select * into held from claims c where c.tenant_id = hold.tenant for no key update;
  if held.tenant_id is null then
    raise exception using errcode = 'TC017', message = 'outdated', detail = json_build_object('code', 'not_adopted')::text;
  end if;
  if held.uid is distinct from holder_uid then -- a uid that is NULL is not the holder's
    raise exception using errcode = 'TC014', message = 'not the holder', detail = holder(held)::text;
  end if;
  return held;
end
$$;
-- +goose StatementEnd

reset role;
