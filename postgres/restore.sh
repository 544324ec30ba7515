#!/bin/sh
# Reads a tar that backup.sh wrote from standard input and puts all of it back. What arrives is held against
# its hashes and the databases are filled beside the present ones, before anything changes; then the databases
# change places in one transaction, and the artefacts and the secrets by renaming. Nothing else of the stack
# may run meanwhile. Cut short at its very end it says so; running it again finishes it.
set -eu
umask 027
home=/var/lib/mlflow services='airflow mlflow churn' changed=
export PGHOST=postgres PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=10
PGPASSWORD=$(cat /secrets/postgres/postgres_password)
export PGPASSWORD
sql() { psql --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 "$@"; }
fail() { echo "restore: $1" >&2; exit 1; }
forget() { for name in $services; do sql --command "DROP DATABASE IF EXISTS ${name}_$1 WITH (FORCE)"; done; }

if [ -t 0 ]; then
  echo "restore: this reads a tar: docker compose run --rm -T restore <churn.tar" >&2
  exit 2
fi
left() { # whatever ends this
  [ -n "$1" ] && return
  if [ -z "$changed" ]; then
    echo "restore: nothing has been changed" >&2
    forget restored
  else
    echo "restore: cut short half-way: run it again with the same tar before you start the stack" >&2
  fi
}
scratch= done=
trap 'left "$done"; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

busy=$(sql --command "SELECT DISTINCT usename FROM pg_stat_activity WHERE usename IN ('airflow', 'mlflow', 'churn')")
[ -z "$busy" ] || fail "the stack runs ($(echo $busy) are connected): docker compose down, and again"
rm -rf /scratch/restore-* $home/.restored $home/.replaced # of one that was killed
forget replaced
forget restored
scratch=$(mktemp -d /scratch/restore-XXXXXX)
tar --extract --file - --directory "$scratch" --no-same-owner || fail "this is no whole tar"
[ "$(cat "$scratch/format" 2>/dev/null)" = 1 ] || fail "this is no backup that this version can read"
(cd "$scratch" && sha256sum --quiet --check sha256) >&2 || fail "the backup is damaged"
mkdir -p "$scratch/artifacts"
cp -R "$scratch/artifacts" $home/.restored # into the volume where it can be renamed
for name in $services; do
  sql --command "CREATE DATABASE ${name}_restored OWNER $name"
  pg_restore --no-owner --role "$name" --exit-on-error --dbname "${name}_restored" "$scratch/databases/$name" ||
    fail "the database $name cannot be filled"
done

changed=yes
{
  echo 'BEGIN;'
  for name in $services; do
    echo "ALTER DATABASE $name RENAME TO ${name}_replaced;"
    echo "ALTER DATABASE ${name}_restored RENAME TO $name;"
    echo "REVOKE ALL ON DATABASE $name FROM PUBLIC;"
  done
  echo 'COMMIT;'
} | sql
if [ -d $home/artifacts ]; then mv $home/artifacts $home/.replaced; fi
mv $home/.restored $home/artifacts
# the server has the present password until the next start sets the restored one
cp -f /secrets/postgres/postgres_password /secrets/postgres/postgres_password.before
cp -Rf "$scratch/secrets/." /secrets/
chmod 440 /secrets/*/*
done=yes
rm -rf $home/.replaced
forget replaced
echo "restore: $(grep -c ' artifacts/' "$scratch/sha256") artefacts, 3 databases, the secrets: start the stack" >&2
