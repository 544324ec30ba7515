#!/bin/sh
# Run once, on the first start: a role and a database of its own for each service.
set -eu
for service in airflow mlflow; do
  psql --username "${POSTGRES_USER:-postgres}" --dbname postgres --quiet --set ON_ERROR_STOP=1 \
    --set service="$service" --set file="/run/churn/${service}_password" <<'SQL'
-- read here, so that the password is no process's argument
\set password `cat :'file'`
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service";
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
done
