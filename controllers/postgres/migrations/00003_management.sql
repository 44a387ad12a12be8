-- +goose Up
-- Every access to the management table, reads too. These functions belong to tenant_credentials_hash, because code that the
-- platform put on its table (triggers, views, row security) runs with the rights of the role that uses it.
--
-- Such code runs as the functions' owner and could ALTER them; so
-- * each begins by checking that it still runs as that owner and not as its caller, with every name qualified, because
--   a changed search_path could otherwise bring in a third party's operator (its body cannot be replaced: the owner has no
--   CREATE on the schema);
-- * each ends by setting search_path again, because a SET inside a trigger outlives the function that fired it, and would
--   decide what the caller's names mean;
-- * each refuses a cursor WITH HOLD: its query would run at COMMIT, with the rights of the operator's login.
-- Code that is deferred to COMMIT all the same meets a transaction that is read-only by then (function seal), and the connection is closed after it.
set local role tenant_credentials_owner;

-- +goose StatementBegin
-- The condition that picks tenants by their IDs: $1 has them as uuid[], $2 as text[]. A column of another type than uuid has them as text, in
-- either case of letters; an index on it serves both.
create function tenant_credentials.managed_condition() returns text
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
  id_type oid;
begin
  select * into s from tenant_credentials.settings;
  id_type := ( -- one look into an index after the other: a join would read the whole catalog
    select a.atttypid from pg_attribute a
     where a.attname = s.column_id
       and a.attrelid = (select c.oid from pg_class c
                          where c.relname = s.management_table and c.relnamespace = (select n.oid from pg_namespace n where n.nspname = s.management_schema)));
  return format('m.%I = any (%s)', s.column_id, case when id_type = 'uuid'::regtype then '$1' else '$2' end);
end
$$;

create function tenant_credentials.texts(tenants uuid[]) returns text[]
language plpgsql immutable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
begin
  return array(select t::text from unnest(tenants) t union select upper(t::text) from unnest(tenants) t);
end
$$;

create function tenant_credentials.read_managed(tenants uuid[])
returns table (tenant_id uuid, role text, database text, fly_app text, hash_digest bytea)
language plpgsql security definer rows 1 set search_path = pg_catalog, tenant_credentials, pg_temp as $$
#variable_conflict use_column
declare
  s tenant_credentials.settings;
begin
  if current_user::pg_catalog.text operator(pg_catalog.<>) 'tenant_credentials_hash' then
    raise exception using errcode = 'TC005', message = 'function changed';
  end if;
  select * into s from tenant_credentials.settings;
  return query execute format(
    'select m.%1$I::text::uuid, %2$s, %3$s, %4$s, sha256(convert_to(nullif(m.%5$I::text, ''''), ''UTF8'')) from %6$I.%7$I m where %8$s',
    s.column_id,
    case when s.column_role = '' then 'null::text' else format('nullif(m.%I::text, '''')', s.column_role) end,
    case when s.column_database = '' then 'null::text' else format('nullif(m.%I::text, '''')', s.column_database) end,
    case when s.column_fly_app = '' then 'null::text' else format('nullif(m.%I::text, '''')', s.column_fly_app) end,
    s.column_password_hash, s.management_schema, s.management_table, tenant_credentials.managed_condition()) using tenants, tenant_credentials.texts(tenants);
  perform pg_catalog.set_config('search_path', 'pg_catalog, tenant_credentials, pg_temp', false);
  if exists (select from pg_cursors c where c.is_holdable) then
    raise exception using errcode = 'TC024', message = 'cursor WITH HOLD left open', detail = json_build_object('schema', s.management_schema, 'table', s.management_table)::text;
  end if;
end
$$;

create function tenant_credentials.lock_managed(tenant uuid) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
begin
  if current_user::pg_catalog.text operator(pg_catalog.<>) 'tenant_credentials_hash' then
    raise exception using errcode = 'TC005', message = 'function changed';
  end if;
  select * into s from tenant_credentials.settings;
  execute format('select from %I.%I m where %s for no key update',
                 s.management_schema, s.management_table, tenant_credentials.managed_condition()) using array[tenant], tenant_credentials.texts(array[tenant]);
  perform pg_catalog.set_config('search_path', 'pg_catalog, tenant_credentials, pg_temp', false);
  if exists (select from pg_cursors c where c.is_holdable) then
    raise exception using errcode = 'TC024', message = 'cursor WITH HOLD left open', detail = json_build_object('schema', s.management_schema, 'table', s.management_table)::text;
  end if;
end
$$;

-- Why the management table refuses a hash, from PostgreSQL's report of the error: its SQLSTATE, a constraint's
-- name, and the functions that it went through. Never its DETAIL, which can print the row.
create function tenant_credentials.refusal(refused text, violated text, context text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s settings;
  managed jsonb;
  called text := left((regexp_match(context, '(?:PL/pgSQL function |SQL function ")([^"(]+)'))[1], 63);
begin
  select * into s from settings;
  managed := jsonb_build_object('schema', s.management_schema, 'table', s.management_table);
  if called like 'tenant_credentials.%' then
    called := null;
  end if;
  return case
    when refused = '42501' and called is not null then managed || jsonb_build_object('code', 'refused_function_right', 'function', called)
    when refused = '42501' then managed || jsonb_build_object('code', 'refused_right')
    when refused like '23%' and violated <> '' then managed || jsonb_build_object('code', 'refused_constraint', 'constraint', left(violated, 64), 'sqlstate', refused)
    when refused = '22001' then managed || jsonb_build_object('code', 'refused_length', 'column', s.column_password_hash)
    when refused in ('42804', '22P02') then managed || jsonb_build_object('code', 'refused_type', 'column', s.column_password_hash)
    when refused = '55000' then coalesce(management_problem(), managed || jsonb_build_object('code', 'refused_update'))
    when called is not null then managed || jsonb_build_object('code', 'refused_function', 'sqlstate', refused, 'function', called)
    else managed || jsonb_build_object('code', 'refused', 'sqlstate', refused)
  end;
end
$$;

-- The fault of the management table that keeps the operator from its work; null = none that the catalogs show.
create function tenant_credentials.management_problem() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s settings;
  managed jsonb;
  c pg_class;
  missing jsonb;
  id pg_attribute;
  hash pg_attribute;
begin
  select * into s from settings;
  managed := jsonb_build_object('schema', s.management_schema, 'table', s.management_table);
  select k.* into c from pg_class k join pg_namespace n on n.oid = k.relnamespace where n.nspname = s.management_schema and k.relname = s.management_table;
  if c.oid is null then
    return managed || jsonb_build_object('code', 'table_missing');
  end if;
  select jsonb_agg(w) into missing
    from unnest(array[s.column_id, s.column_password_hash, nullif(s.column_role, ''), nullif(s.column_database, ''), nullif(s.column_fly_app, ''), nullif(s.column_owner, '')]) w
   where w is not null and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = w and a.attnum > 0 and not a.attisdropped);
  if missing is not null then
    return managed || jsonb_build_object('code', 'columns_missing', 'columns', missing);
  end if;
  select a.* into id from pg_attribute a where a.attrelid = c.oid and a.attname = s.column_id;
  select a.* into hash from pg_attribute a where a.attrelid = c.oid and a.attname = s.column_password_hash;
  return case
    when id.atttypid not in ('uuid'::regtype, 'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype)
      then managed || jsonb_build_object('code', 'id_type', 'column', s.column_id, 'type', format_type(id.atttypid, id.atttypmod))
    when hash.atttypid not in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) or hash.atttypmod between 0 and 133 + 4 - 1 -- with a header of 4
      then managed || jsonb_build_object('code', 'hash_type', 'column', s.column_password_hash, 'type', format_type(hash.atttypid, hash.atttypmod))
    when c.relkind <> 'f' and pg_relation_is_updatable(c.oid, true) & 4 = 0 -- CMD_UPDATE
      then managed || jsonb_build_object('code', 'not_updatable')
    when c.relrowsecurity and exists (
        select from unnest(array['r', 'w']) command where not exists (
          select from pg_policy p where p.polrelid = c.oid and p.polpermissive and p.polcmd in (command, '*') and p.polroles && array[0, 'tenant_credentials_hash'::regrole::oid]))
      then managed || jsonb_build_object('code', 'row_security')
    when c.relkind = 'f' and not exists (select from pg_foreign_table f join pg_user_mappings u on u.srvid = f.ftserver
           where f.ftrelid = c.oid and u.umuser in (0, 'tenant_credentials_hash'::regrole))
      then (select managed || jsonb_build_object('code', 'no_user_mapping', 'server', v.srvname)
              from pg_foreign_table f join pg_foreign_server v on v.oid = f.ftserver where f.ftrelid = c.oid)
    when c.relkind in ('r', 'p') and c.relreplident in ('d', 'n') and exists (select from pg_publication_tables p join pg_publication b on b.pubname = p.pubname
           where b.pubupdate and p.schemaname = s.management_schema and p.tablename = s.management_table)
         and not (c.relreplident = 'd' and exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary))
      then managed || jsonb_build_object('code', 'no_replica_identity', 'column', s.column_id)
  end;
end
$$;

-- Whether the management table names the subject as the tenant's owner: for the endpoint, whose login may call this and nothing else. Where there are
-- several rows of the tenant, each has to name it. The endpoint shows SQLSTATEs alone; who reads a sentence here has called it by hand.
create function tenant_credentials.owner_is(tenant uuid, subject text) returns boolean
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
  owned pg_catalog.bool; -- qualified, as in write_managed
begin
  if current_user::pg_catalog.text operator(pg_catalog.<>) 'tenant_credentials_hash' then
    raise exception using errcode = 'TC005', message = 'function changed';
  end if;
  select * into s from tenant_credentials.settings;
  if s.column_owner = '' then
    raise exception using errcode = 'TC020', message = 'The ledger knows no column with the tenant''s owner: name it in spec.management.columns.owner, and run manager install-sql.';
  end if;
  execute format('select bool_and(coalesce(m.%I::text = $3 and $3 <> '''', false)) from %I.%I m where %s',
                 s.column_owner, s.management_schema, s.management_table, tenant_credentials.managed_condition())
    into owned using array[tenant], tenant_credentials.texts(array[tenant]), subject;
  perform pg_catalog.set_config('search_path', 'pg_catalog, tenant_credentials, pg_temp', false);
  if exists (select from pg_cursors c where c.is_holdable) then
    raise exception using errcode = 'TC024', message = 'cursor WITH HOLD left open', detail = json_build_object('schema', s.management_schema, 'table', s.management_table)::text;
  end if;
  perform tenant_credentials.seal();
  return coalesce(owned, false);
end
$$;

-- Tries what a rotation does to the management table on one of its rows, and undoes it; answers why it is refused, null = it is not, or there is no
-- row that no rotation is working on. It runs the table's own code, as a rotation does.
create function tenant_credentials.try_managed() returns text
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
  one pg_catalog.text; -- qualified, as in write_managed
begin
  if current_user::pg_catalog.text operator(pg_catalog.<>) 'tenant_credentials_hash' then
    raise exception using errcode = 'TC005', message = 'function changed';
  end if;
  select * into s from tenant_credentials.settings;
  execute format('select m.%I::text from %I.%I m limit 1 for no key update skip locked', s.column_id, s.management_schema, s.management_table) into one;
  perform pg_catalog.set_config('search_path', 'pg_catalog, tenant_credentials, pg_temp', false);
  if one is null or one !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    return null;
  end if;
  perform tenant_credentials.lock_managed(one::uuid);
  perform tenant_credentials.write_managed(one::uuid,
    'SCRAM-SHA-256$4096:' || encode(decode(repeat('00', 16), 'hex'), 'base64') || '$' || encode(decode(repeat('00', 32), 'hex'), 'base64') || ':' || encode(decode(repeat('00', 32), 'hex'), 'base64'));
  return null;
end
$$;

-- Writes the hash and checks every deferred constraint of the transaction at once, still with this owner's rights. A refusal of
-- the table is reported by SQLSTATE alone: the DETAIL of a violated CHECK prints the row, and with it the hash.
create function tenant_credentials.write_managed(tenant uuid, verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, tenant_credentials, pg_temp as $$
declare
  s tenant_credentials.settings;
  written bigint;
  refused pg_catalog.text; -- qualified: a type is looked up before the check below
  violated pg_catalog.text;
  context pg_catalog.text;
begin
  if current_user::pg_catalog.text operator(pg_catalog.<>) 'tenant_credentials_hash' then
    raise exception using errcode = 'TC005', message = 'function changed';
  end if;
  select * into s from tenant_credentials.settings;
  begin
    execute format('update %I.%I m set %I = $3 where %s',
                   s.management_schema, s.management_table, s.column_password_hash, tenant_credentials.managed_condition())
      using array[tenant], tenant_credentials.texts(array[tenant]), verifier;
    get diagnostics written = row_count;
    set constraints all immediate;
  exception when query_canceled or others then
    get stacked diagnostics violated = constraint_name, context = pg_exception_context;
    refused := sqlstate;
  end;
  perform pg_catalog.set_config('search_path', 'pg_catalog, tenant_credentials, pg_temp', false);
  if exists (select from pg_cursors c where c.is_holdable) then
    raise exception using errcode = 'TC024', message = 'cursor WITH HOLD left open', detail = json_build_object('schema', s.management_schema, 'table', s.management_table)::text;
  end if;
  if refused is not null then
    if refused ~ '^(40|55P03|57)' then -- a lock, a deadlock, a timeout: not the table's refusal
      raise exception using errcode = refused, message = 'The stored hash was not written.';
    end if;
    raise exception using errcode = 'TC019', message = 'hash refused',
      detail = tenant_credentials.refusal(refused, violated, context)::text;
  end if;
  -- ALL has included the ledger's own constraint, which has to wait for the end of the transaction.
  set constraints tenant_credentials.rotations_not_staged deferred;
  if written <> 1 then
    raise exception using errcode = 'TC019', message = 'hash not written',
      detail = json_build_object('code', 'rows', 'schema', s.management_schema, 'table', s.management_table, 'rows', written)::text;
  end if;
end
$$;
-- +goose StatementEnd

reset role;
alter function tenant_credentials.read_managed(uuid[]) owner to tenant_credentials_hash;
alter function tenant_credentials.lock_managed(uuid) owner to tenant_credentials_hash;
alter function tenant_credentials.write_managed(uuid, text) owner to tenant_credentials_hash;
alter function tenant_credentials.try_managed() owner to tenant_credentials_hash;
alter function tenant_credentials.owner_is(uuid, text) owner to tenant_credentials_hash;
-- After the change of owner, which would hand a grant to the old owner over to the new one.
grant execute on function tenant_credentials.read_managed(uuid[]), tenant_credentials.lock_managed(uuid),
  tenant_credentials.write_managed(uuid, text), tenant_credentials.try_managed() to tenant_credentials_owner;
grant execute on function tenant_credentials.managed_condition(), tenant_credentials.texts(uuid[]), tenant_credentials.refusal(text, text, text) to tenant_credentials_hash;
