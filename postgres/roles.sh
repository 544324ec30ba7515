#!/bin/sh
# Run before each start: a role and a database of its own for each service, with the passwords that the
# secrets say. So a service that came with a later version gets its own, and a rotated password is set.
set -eu
secrets=/run/churn
export PGHOST=postgres PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=10

enter() { [ -r "$1" ] && PGPASSWORD=$(cat "$1") && export PGPASSWORD && psql --quiet --command 'SELECT 1' >/dev/null 2>&1; }

# where passwords have been rotated, the server still has the one before
if ! enter $secrets/postgres_password && ! enter $secrets/postgres_password.before; then
  psql --quiet --command 'SELECT 1' >/dev/null # tells why
  exit 1
fi

psql --quiet --set ON_ERROR_STOP=1 --set file=$secrets/postgres_password <<'SQL'
\set password `cat :'file'`
ALTER ROLE postgres PASSWORD :'password';
SQL
PGPASSWORD=$(cat $secrets/postgres_password)
rm -f $secrets/postgres_password.before

for service in airflow mlflow churn; do
  psql --quiet --set ON_ERROR_STOP=1 --set service="$service" --set file="$secrets/${service}_password" <<'SQL'
-- read here, so that the password is no process's argument
\set password `cat :'file'`
SELECT format('CREATE ROLE %I', :'service') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'service') \gexec
ALTER ROLE :"service" LOGIN PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'service', :'service')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'service') \gexec
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
done
