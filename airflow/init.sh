#!/bin/sh
# Run before each start of the compose stack: Airflow's database, its users, a rotated key.
set -eu
airflow db migrate
python airflow/users.py /run/churn/airflow_passwords.json
# several keys, the newest first: what an older one has encrypted is encrypted anew
case $(cat /run/churn/airflow_fernet) in *,*) airflow rotate-fernet-key ;; esac
