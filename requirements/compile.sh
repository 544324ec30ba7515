#!/bin/sh
# Compile pyproject.toml into the hashed locks: dev.txt, then one per image.
# The images' locks take dev.txt as constraints, so that what the tests ran is what the images hold.
# Versions that a lock already names stay; `requirements/compile.sh --upgrade` takes the newest.
set -eu
cd "$(dirname "$0")/.."

compile() { # extra, name of the lock, further options
  extra=$1 lock=$2
  shift 2
  # no annotations: with constraints, every package would be annotated with the constraints' path
  "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-annotate --custom-compile-command 'make locks' \
    --extra "$extra" --output-file "requirements/$lock.txt" "$@" pyproject.toml
}

compile dev dev "$@"
compile pipeline airflow --constraint requirements/dev.txt "$@"
compile tracking mlflow --constraint requirements/dev.txt "$@"
compile api api --constraint requirements/dev.txt "$@"
compile ui ui --constraint requirements/dev.txt "$@"

# what `make setup` itself needs before it can read the others
"${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-annotate --custom-compile-command 'make locks' --output-file requirements/setup.txt requirements/setup.in
