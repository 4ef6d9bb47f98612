-- Farebox: roles and schemas of a new database. Run once (again is harmless), connected to that database, as its owner
-- with CREATEROLE, or as a superuser:   psql "$ADMIN_URL" -f migrations/bootstrap.sql
-- or, without psql:                     npm run farebox -- bootstrap --url "$ADMIN_URL"
--
-- Other names or passwords: set them before, in the same session, for example
--   set farebox.app_role = 'shop_app'; set farebox.app_password = '…';
-- Without CREATEROLE, create the three roles yourself, grant the owner role to yourself, and run this file.

do $$
declare
  owner_role text := coalesce(nullif(current_setting('farebox.owner_role', true), ''), 'farebox_owner');
  app_role text := coalesce(nullif(current_setting('farebox.app_role', true), ''), 'farebox_app');
  auditor_role text := coalesce(nullif(current_setting('farebox.auditor_role', true), ''), 'farebox_auditor');
  wanted record;
  schema_name text;
begin
  if current_setting('server_version_num')::int < 160000 then
    raise exception 'Farebox needs PostgreSQL 16 or newer, this is %', current_setting('server_version');
  end if;

  for wanted in
    select owner_role as name, nullif(current_setting('farebox.owner_password', true), '') as password
    union all select app_role, nullif(current_setting('farebox.app_password', true), '')
    union all select auditor_role, nullif(current_setting('farebox.auditor_password', true), '')
  loop
    if not exists (select from pg_roles where rolname = wanted.name) then
      execute format('create role %I login noinherit nocreatedb nocreaterole', wanted.name);
    end if;
    if wanted.password is not null then
      execute format('alter role %I password %L', wanted.name, wanted.password);
    end if;
  end loop;

  -- Whoever creates schemas for a role must be able to become it; CREATEROLE alone gives only ADMIN (PostgreSQL 16).
  if not pg_has_role(current_user, owner_role, 'SET') or not pg_has_role(current_user, owner_role, 'USAGE') then
    execute format('grant %I to %I with set true, inherit true', owner_role, current_user);
  end if;

  execute format('grant connect on database %I to %I, %I, %I', current_database(), owner_role, app_role, auditor_role);
  execute format('revoke create, temporary on database %I from public', current_database());
  execute format('revoke create on database %I from %I, %I', current_database(), app_role, auditor_role);
  -- A database that was upgraded from before PostgreSQL 15 still lets everybody create there.
  if to_regnamespace('public') is not null and has_schema_privilege(app_role, 'public', 'CREATE') then
    revoke create on schema public from public;
  end if;

  foreach schema_name in array array['migrations', 'platform', 'identity', 'credits', 'payments', 'workflows', 'refunds']
  loop
    execute format('create schema if not exists %I authorization %I', schema_name, owner_role);
  end loop;

  -- Global, not per schema: defaults of a schema cannot take away what PUBLIC gets by the global defaults.
  execute format('alter default privileges for role %I revoke execute on functions from public', owner_role);
end
$$;
