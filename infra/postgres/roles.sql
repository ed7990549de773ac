-- What each role may do in the database of catalog and registry; run by psql as its owner, as often as you like.
-- Passwords come from the environment, so that a new secret replaces the old one at the next start.
\set ON_ERROR_STOP on
\getenv ingest_password POSTGRES_INGEST_PASSWORD
\getenv transform_password POSTGRES_TRANSFORM_PASSWORD
\getenv trainer_password POSTGRES_TRAINER_PASSWORD
\getenv page_password POSTGRES_PAGE_PASSWORD
\getenv operator_password POSTGRES_OPERATOR_PASSWORD

select format('create role %I login', name)
from unnest(array['ingest', 'transform', 'trainer', 'page', 'operator']) as name
where not exists (select from pg_roles where rolname = name) \gexec

alter role "ingest" password :'ingest_password';
alter role "transform" password :'transform_password';
alter role "trainer" password :'trainer_password';
alter role "page" password :'page_password';
alter role "operator" password :'operator_password';

revoke all on database :"DBNAME" from public;
grant connect on database :"DBNAME" to "ingest", "transform", "trainer", "page", "operator";
revoke all on schema public from public;

-- `public` holds Iceberg's catalog, `headrace` the registry; the operator makes and migrates tables
create schema if not exists headrace;
grant usage on schema public, headrace to "ingest", "transform", "trainer", "page";
grant usage, create on schema public, headrace to "operator";
grant select on all tables in schema public, headrace to "ingest", "transform", "trainer", "page";
grant insert, update, delete on all tables in schema public, headrace to "ingest", "transform";
select format('alter table %s owner to "operator"', oid::regclass)
from pg_class
where relnamespace in ('public'::regnamespace, 'headrace'::regnamespace)
  and relkind in ('r', 'p', 'v') and relowner <> 'operator'::regrole
order by oid \gexec

-- tables that come later, whether the operator makes them or whoever runs this file
alter default privileges in schema public, headrace
  grant all on tables to "operator";
alter default privileges for role current_user, "operator" in schema public, headrace
  grant select on tables to "ingest", "transform", "trainer", "page";
alter default privileges for role current_user, "operator" in schema public, headrace
  grant insert, update, delete on tables to "ingest", "transform";

-- its own name is that of a schema, which would come first in its search path
alter role current_user set search_path = public;
