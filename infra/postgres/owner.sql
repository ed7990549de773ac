-- The owner's password, from the environment: data that were made with another one would keep that.
\set ON_ERROR_STOP on
\getenv owner_password POSTGRES_OWNER_PASSWORD
alter role current_user password :'owner_password';
