-- +goose Up
set local role tenant_credentials_owner;

-- The functions of the ledger have no words for people. A refusal is an SQLSTATE of class TC with a label, and a fault is a value; each names what it is
-- about in a JSON object: a code where there are several causes, and identifiers, never a secret. The operator words them (words.go). The functions that a
-- DBA calls are those of 00008: they speak for themselves, because psql has no program beside it that words an error.

-- Whether a text may be kept and shown: bounded in bytes, and without control characters or the marks that turn a line's direction around.
-- The strings are E'' so that standard_conforming_strings does not matter.
-- +goose StatementBegin
create function tenant_credentials.printable(value text, longest integer) returns boolean
language plpgsql immutable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return octet_length(value) <= longest
     and value !~ E'[\\u0001-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]';
end
$$;
-- +goose StatementEnd

-- The DBA's decisions at installation. One row.
create table tenant_credentials.settings (
  singleton boolean primary key default true check (singleton),
  management_schema text not null,
  management_table text not null,
  column_id text not null,
  column_password_hash text not null,
  column_role text not null,      -- '' = the platform has no such column
  column_database text not null,
  column_fly_app text not null,
  column_owner text not null,
  role_prefix text not null,
  database_prefix text not null,
  fly_app_prefix text not null,
  installed_on text not null,     -- the system identifier (pg_control_system) at the last installation
  -- Predefined roles (pg_*) that a tenant's role may be a member of. A DBA extends the list here.
  allowed_predefined_roles text[] not null default '{}'
);

-- The holders of tenants. A claim is made by the first adoption and never deleted.
create table tenant_credentials.claims (
  tenant_id uuid primary key,
  role text not null constraint claims_role_key unique,
  database text not null,
  fly_app text not null constraint claims_fly_app_key unique,
  uid text not null check (tenant_credentials.printable(uid, 128)),
  cluster text not null check (tenant_credentials.printable(cluster, 128)),
  environment text not null check (tenant_credentials.printable(environment, 253)),
  namespace text not null check (tenant_credentials.printable(namespace, 253)),
  name text not null check (tenant_credentials.printable(name, 253)),
  generation bigint not null check (generation between 0 and 1000000),
  verifier_digest bytea,          -- as found at the adoption
  hash_digest bytea,
  adopted_at timestamptz not null
);

-- Every change of a claim's holder, for an audit.
create table tenant_credentials.adoptions (
  id bigint generated always as identity primary key,
  tenant_id uuid not null,
  uid text not null, -- bounded as in claims, which is written first
  cluster text not null,
  environment text not null,
  namespace text not null,
  name text not null,
  generation bigint not null,
  previous_uid text,              -- null = the first adoption
  previous_cluster text,
  adopted_at timestamptz not null
);

create table tenant_credentials.rotations (
  tenant_id uuid not null,
  revision bigint not null check (revision > 0),
  state text not null,
  generation bigint not null check (generation between 0 and 1000000),
  cause text not null check (tenant_credentials.printable(cause, 64)), -- why the rotation was due
  reason text not null check (tenant_credentials.printable(reason, 1024)), -- spec.rotationRequest.reason; '' = not given
  -- spec.rotationRequest.requestedBy; '' = not given. The shipped admission policy lets only the caller's own username in, or a name that a
  -- caller with the verb attribute vouches for.
  requested_by text not null check (tenant_credentials.printable(requested_by, 1024)),
  request_id text not null check (tenant_credentials.printable(request_id, 64)), -- spec.rotationRequest.id; '' = not given
  stated_manager text not null check (tenant_credentials.printable(stated_manager, 256)), -- the field manager that the caller states: a claim that nothing checks
  role text not null,
  login text,                     -- whose password it is: the role, or its second login (role || '_b'); null = not decided yet
  login_oid oid,                  -- by which it is known under any later name
  verifier_digest bytea,          -- sha256 of pg_authid.rolpassword
  hash_digest bytea,              -- sha256 of the stored hash
  delivery_digest bytea check (octet_length(delivery_digest) = 32),
  fly_app text check (tenant_credentials.printable(fly_app, 63)),
  fly_secret_version numeric check (fly_secret_version between 1 and 18446744073709551615), -- Fly counts in unsigned 64 bits
  fly_secret_digest text check (tenant_credentials.printable(fly_secret_digest, 256)),
  fly_instances text[] check (cardinality(fly_instances) <= 2000 and tenant_credentials.printable(array_to_string(fly_instances, ','), 131072)), -- those that ran, or lay stopped, with the previous value, where a deploy of the user's is to replace them; else null
  opened_at timestamptz not null,
  committed_at timestamptz,
  rolled_at timestamptz,          -- every consumer has the new value, while the previous login is still open
  completed_at timestamptz,
  -- The fate of sessions that were opened with a previous password: they are kept; ended once the consumers have moved; or ended at once.
  session_policy text not null default 'Keep' check (session_policy in ('Keep', 'Terminate', 'Compromised')),
  sessions_before timestamptz,    -- a session that began earlier is from before the rotation; not earlier than COMMIT
  sessions_ended_at timestamptz,  -- there is none of them any more, nor a login in progress that could become one
  -- After a compromise, before the new password is set: since when no login of the tenant can log in, how often that was made so, the virtual
  -- transactions of the logins that were in progress after the last time, and when neither a session nor one of those logins was left.
  closed_at timestamptz,
  closings integer,
  logins_in_progress text[],
  quiet_at timestamptz,
  login_checked_at timestamptz,   -- a login with the new password has succeeded; null = not, or it is not known
  primary key (tenant_id, revision)
);
create unique index rotations_one_before_commit on tenant_credentials.rotations (tenant_id) where state in ('open', 'issued', 'staged');
create unique index rotations_one_after_commit on tenant_credentials.rotations (tenant_id) where state in ('committed', 'rolled');

create table tenant_credentials.transitions (
  from_state text not null,       -- '' = the row is new
  to_state text not null,
  primary key (from_state, to_state)
);

-- +goose StatementBegin
create function tenant_credentials.check_transition() returns trigger
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  before text := '';
  same rotations;
begin
  if tg_op = 'UPDATE' then
    before := old.state;
    if before = 'discarded' and new.state = 'open' and (new.tenant_id, new.revision) = (old.tenant_id, old.revision) then
      return new; -- begun again
    end if;
    if (new.tenant_id, new.revision, new.generation, new.cause, new.reason, new.requested_by, new.request_id, new.stated_manager, new.opened_at)
       is distinct from (old.tenant_id, old.revision, old.generation, old.cause, old.reason, old.requested_by, old.request_id, old.stated_manager, old.opened_at) then
      raise exception using errcode = 'TC002', message = 'step not allowed', detail = json_build_object('code', 'begun_with')::text;
    end if;
    same := old;
    if new.state in ('committed', 'rolled') then -- notes what has become of sessions, and of the login
      same.login_checked_at := new.login_checked_at;
      same.sessions_before := new.sessions_before;
      same.sessions_ended_at := new.sessions_ended_at;
    elsif new.state in ('open', 'issued') then -- notes how far its logins are closed
      same.role := new.role;
      same.closed_at := new.closed_at;
      same.closings := new.closings;
      same.logins_in_progress := new.logins_in_progress;
      same.quiet_at := new.quiet_at;
    end if;
    if new.state in ('open', 'issued', 'committed', 'rolled') and new is not distinct from same then
      return new;
    end if;
  end if;
  if not exists (select from transitions t where t.from_state = before and t.to_state = new.state) then
    raise exception using errcode = 'TC002', message = 'step not allowed',
      detail = json_build_object('code', 'transition', 'from', before, 'to', left(new.state, 64))::text;
  end if;
  return new;
end
$$;
-- +goose StatementEnd
create trigger rotations_transition before insert or update on tenant_credentials.rotations
  for each row execute function tenant_credentials.check_transition();

-- +goose StatementBegin
create function tenant_credentials.refuse_staged() returns trigger
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  if exists (select from rotations r
              where r.tenant_id = new.tenant_id and r.revision = new.revision and r.state = 'staged') then
    raise exception using errcode = 'TC003', message = 'staged at commit';
  end if;
  return null;
end
$$;
-- +goose StatementEnd
-- SECURITY DEFINER, because up to PostgreSQL 17 a deferred trigger runs as the role that commits, which may not read the table.
create constraint trigger rotations_not_staged after insert or update on tenant_credentials.rotations
  deferrable initially deferred for each row when (new.state = 'staged')
  execute function tenant_credentials.refuse_staged();

-- +goose StatementBegin
create function tenant_credentials.refuse_removal() returns trigger
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  raise exception using errcode = 'TC004', message = 'rows are kept', detail = json_build_object('table', tg_table_name)::text;
end
$$;
-- +goose StatementEnd
create trigger rotations_keep before delete or truncate on tenant_credentials.rotations
  for each statement execute function tenant_credentials.refuse_removal();
create trigger claims_keep before delete or truncate on tenant_credentials.claims
  for each statement execute function tenant_credentials.refuse_removal();
create trigger adoptions_keep before update or delete or truncate on tenant_credentials.adoptions
  for each statement execute function tenant_credentials.refuse_removal();
revoke delete, truncate on tenant_credentials.rotations, tenant_credentials.claims from tenant_credentials_owner;
revoke update, delete, truncate on tenant_credentials.adoptions from tenant_credentials_owner;
grant usage on schema tenant_credentials to tenant_credentials_hash;
grant select on tenant_credentials.settings to tenant_credentials_hash;

reset role;
