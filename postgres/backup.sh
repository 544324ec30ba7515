#!/bin/sh
# Writes one tar to standard output: every database, the artefacts, the secrets, and the hash of each file.
# The stack goes on meanwhile: artefacts are written before the registry names them, so the databases come first.
set -eu
umask 077
export PGHOST=postgres PGUSER=postgres PGCONNECT_TIMEOUT=10
PGPASSWORD=$(cat /secrets/postgres/postgres_password)
export PGPASSWORD

if [ -t 1 ]; then
  echo "backup: this writes a tar: (umask 077; docker compose run --rm -T backup >churn.tar)" >&2
  exit 2
fi
rm -rf /scratch/backup-* # of one that was killed
scratch=$(mktemp -d /scratch/backup-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

mkdir -p "$scratch/databases" /var/lib/mlflow/artifacts
for name in airflow mlflow churn; do
  pg_dump --format custom --no-owner --file "$scratch/databases/$name" "$name"
done
echo 1 >"$scratch/format"
(cd / && find secrets -type f ! -name '.*') >"$scratch/secrets.list"
# what is being written right now is no part of it: nothing in the databases can name it yet
touch "$scratch/dumped" && sleep 2
(cd /var/lib/mlflow && find artifacts -type f ! -newer "$scratch/dumped") >"$scratch/artifacts.list"
hashes() { tr '\n' '\0' | xargs -0 -r sha256sum; }
{
  (cd "$scratch" && find format databases -type f | hashes)
  (cd / && hashes <"$scratch/secrets.list")
  (cd /var/lib/mlflow && hashes <"$scratch/artifacts.list")
} >"$scratch/sha256"
tar --create --file - --verbatim-files-from --directory "$scratch" format sha256 databases \
  --directory / --files-from "$scratch/secrets.list" --directory /var/lib/mlflow --files-from "$scratch/artifacts.list"
echo "backup: $(wc -l <"$scratch/artifacts.list") artefacts, 3 databases, the secrets" >&2
