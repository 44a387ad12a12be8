-- +goose Up
-- Every access to the management table, reads too. These functions belong to tenant_credentials_hash, because what the platform
-- put on its table (triggers, views, row security) runs with the rights of who uses it.
--
-- Such code runs as the functions' owner and could ALTER them; so
-- * each begins by checking that it still runs as that owner and not as its caller, with every name qualified, because
--   a changed search_path could otherwise bring in an operator of somebody else (its body can not be replaced: the owner has no
--   CREATE on the schema);
-- * each ends by setting search_path again, because a SET inside a trigger outlives the function that fired it, and would
--   decide what the caller's names mean;
-- * each refuses a cursor WITH HOLD: its query would run at COMMIT, with the rights of the operator's login.
-- What is deferred to COMMIT all the same meets a transaction that is read-only by then (function seal), and the connection is closed after it.
set local role tenant_credentials_owner;

-- +goose StatementBegin
create function tenant_credentials.read_managed(tenants uuid[])
returns table (tenant_id uuid, role text, database text, fly_app text, hash_digest bytea)
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  s tenant_credentials.settings;
begin
  if current_user::pg_catalog.text operator(pg_catalog.<>) 'tenant_credentials_hash' then
    raise exception using errcode = 'TC005', message = 'A function on the management table has been changed: install again.';
  end if;
  select * into s from tenant_credentials.settings;
  return query execute format(
    'select m.%1$I::uuid, %2$s, %3$s, %4$s, sha256(convert_to(nullif(m.%5$I::text, ''''), ''UTF8'')) from %6$I.%7$I m where m.%1$I = any ($1)',
    s.column_id,
    case when s.column_role = '' then 'null::text' else format('nullif(m.%I::text, '''')', s.column_role) end,
    case when s.column_database = '' then 'null::text' else format('nullif(m.%I::text, '''')', s.column_database) end,
    case when s.column_fly_app = '' then 'null::text' else format('nullif(m.%I::text, '''')', s.column_fly_app) end,
    s.column_password_hash, s.management_schema, s.management_table) using tenants;
  perform pg_catalog.set_config('search_path', 'pg_catalog, tenant_credentials, pg_temp', false);
  if exists (select from pg_cursors c where c.is_holdable) then
    raise exception using errcode = 'TC024', message = format('Code on table %I.%I has left a cursor WITH HOLD, which would run with the rights of the operator''s login.', s.management_schema, s.management_table);
  end if;
end
$$;

create function tenant_credentials.lock_managed(tenant uuid) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
begin
  if current_user::pg_catalog.text operator(pg_catalog.<>) 'tenant_credentials_hash' then
    raise exception using errcode = 'TC005', message = 'A function on the management table has been changed: install again.';
  end if;
  select * into s from tenant_credentials.settings;
  execute format('select from %I.%I m where m.%I = $1 for no key update',
                 s.management_schema, s.management_table, s.column_id) using tenant;
  perform pg_catalog.set_config('search_path', 'pg_catalog, tenant_credentials, pg_temp', false);
  if exists (select from pg_cursors c where c.is_holdable) then
    raise exception using errcode = 'TC024', message = format('Code on table %I.%I has left a cursor WITH HOLD, which would run with the rights of the operator''s login.', s.management_schema, s.management_table);
  end if;
end
$$;

-- Writes the hash and checks every deferred constraint of the transaction at once, still with this owner's rights. What the table
-- refuses is reported by SQLSTATE alone: the DETAIL of a violated CHECK prints the row, and with it the hash.
create function tenant_credentials.write_managed(tenant uuid, verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
  written bigint;
  refused pg_catalog.text; -- qualified: a type is looked up before the check below
begin
  if current_user::pg_catalog.text operator(pg_catalog.<>) 'tenant_credentials_hash' then
    raise exception using errcode = 'TC005', message = 'A function on the management table has been changed: install again.';
  end if;
  select * into s from tenant_credentials.settings;
  begin
    execute format('update %I.%I m set %I = $2 where m.%I = $1',
                   s.management_schema, s.management_table, s.column_password_hash, s.column_id) using tenant, verifier;
    get diagnostics written = row_count;
    set constraints all immediate;
  exception when query_canceled or others then
    refused := sqlstate;
  end;
  perform pg_catalog.set_config('search_path', 'pg_catalog, tenant_credentials, pg_temp', false);
  if exists (select from pg_cursors c where c.is_holdable) then
    raise exception using errcode = 'TC024', message = format('Code on table %I.%I has left a cursor WITH HOLD, which would run with the rights of the operator''s login.', s.management_schema, s.management_table);
  end if;
  if refused is not null then
    if refused ~ '^(40|55P03|57)' then -- a lock, a deadlock, a timeout: not the table's refusal
      raise exception using errcode = refused, message = 'The stored hash was not written.';
    end if;
    raise exception using errcode = 'TC019',
      message = format('Table %I.%I refused the new hash with SQLSTATE %s.', s.management_schema, s.management_table, refused);
  end if;
  -- ALL has included the ledger's own constraint, which has to wait for the end of the transaction.
  set constraints tenant_credentials.rotations_not_staged deferred;
  if written <> 1 then
    raise exception using errcode = 'TC019',
      message = format('Table %I.%I has %s rows for the tenant, or keeps its hash from being written.', s.management_schema, s.management_table, written);
  end if;
end
$$;
-- +goose StatementEnd

reset role;
alter function tenant_credentials.read_managed(uuid[]) owner to tenant_credentials_hash;
alter function tenant_credentials.lock_managed(uuid) owner to tenant_credentials_hash;
alter function tenant_credentials.write_managed(uuid, text) owner to tenant_credentials_hash;
-- After the change of owner, which would hand a grant to the old owner over to the new one.
grant execute on function tenant_credentials.read_managed(uuid[]), tenant_credentials.lock_managed(uuid),
  tenant_credentials.write_managed(uuid, text) to tenant_credentials_owner;
