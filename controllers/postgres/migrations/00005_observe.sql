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
      'revision', r.revision, 'state', r.state, 'generation', r.generation, 'reason', r.reason,
      'requestReason', r.request_reason, 'requestedBy', r.requested_by, 'fieldManager', r.field_manager,
      'login', r.login, 'verifierDigest', encode(r.verifier_digest, 'hex'), 'hashDigest', encode(r.hash_digest, 'hex'),
      'deliveryDigest', encode(r.delivery_digest, 'hex'),
      'flyApp', r.fly_app, 'flyVersion', r.fly_secret_version, 'flyDigest', r.fly_secret_digest, 'flyInstances', r.fly_instances,
      'openedAt', r.opened_at, 'committedAt', r.committed_at, 'rolledAt', r.rolled_at, 'completedAt', r.completed_at,
      'sessionPolicy', r.session_policy, 'sessionsEndedAt', r.sessions_ended_at)
     where r.tenant_id is not null
  );
end
$$;

-- What the server knows of tenants, one row per ID and in its order. login is the one whose password was delivered last, and
-- verifier_digest is that login's; former_login is the other one while it can log in; second_violation says why there could be no other.
create function tenant_credentials.observe(tenants uuid[])
returns table (tenant_id text, found boolean, role text, database text, fly_app text, role_exists boolean, role_violation text,
               login text, former_login text, second_violation text, verifier_digest text, hash_digest text, claim jsonb, open_rotation jsonb, last_rotation jsonb, compromised_revision bigint,
               clock timestamptz)
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
begin
  return query
    select n.tenant_id::text, n.found, n.role, n.database, n.fly_app, a.oid is not null,
           role_violation(n.role, n.database, l.active),
           l.active, (select o.rolname::text from other_login(n.role, l.active) o where o.rolcanlogin), second_violation(n.role, n.database),
           encode(sha256(convert_to(v.rolpassword, 'UTF8')), 'hex'), encode(n.hash_digest, 'hex'),
           (select claim_json(c) from claims c where c.tenant_id = n.tenant_id),
           (select rotation_json(r) from rotations r where r.tenant_id = n.tenant_id and r.state in ('open', 'issued')),
           (select rotation_json(r) from rotations r where r.tenant_id = n.tenant_id and r.state in ('committed', 'rolled', 'completed')
             order by r.revision desc limit 1),
           (select coalesce(max(r.revision), 0) from rotations r
             where r.tenant_id = n.tenant_id and r.session_policy = 'Compromised' and r.committed_at is not null),
           clock_timestamp()
      from names(tenants) n
     cross join lateral (select active_login(n.tenant_id, n.role) as active) l
      left join pg_authid a on a.rolname = n.role
      left join pg_authid v on v.rolname = l.active
     order by n.ordinal;
end
$$;

-- What the server says about itself.
create function tenant_credentials.survey()
returns table (server_version text, system_identifier text, started timestamptz, clock timestamptz, ledger_version bigint, settings jsonb)
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
begin
  return query
    select current_setting('server_version'), (select c.system_identifier::text from pg_control_system() c),
           pg_postmaster_start_time(), clock_timestamp(),
           (select coalesce(max(g.version_id), 0) from tenant_credentials.goose_db_version g where g.is_applied),
           (select to_jsonb(s) from tenant_credentials.settings s);
end
$$;
-- +goose StatementEnd

reset role;
grant select on tenant_credentials.goose_db_version to tenant_credentials_owner;
