"""Airflow's own users, as the stack's secrets say: made where they are missing, their passwords and roles set.

Usage: ``users.py FILE``, a JSON object of names and passwords. Users that somebody makes in Airflow's
pages stay as they are.

The API's user has a role of its own: it sees every DAG and its runs, and may start runs of the DAGs in our
folder. Airflow asks whoever starts a run also for the right to edit that DAG, which lets it pause one; it
may neither clear nor delete anything.
"""

import json
import os
import sys
from pathlib import Path

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from werkzeug.security import check_password_hash

from churn.credentials import FAB_ROLES

SEES = ("DAGs", "DAG Runs", "Task Instances", "Website")
dags = sorted(path.stem for path in Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).glob("*.py"))
starts = [pair for dag in dags for pair in (("can_edit", f"DAG:{dag}"), ("can_create", f"DAG Run:{dag}"))]
passwords = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
with get_application_builder() as builder:
    access = builder.sm
    access.bulk_sync_roles([{"role": FAB_ROLES["api"], "perms": [*(("can_read", what) for what in SEES), *starts]}])
    for name, password in passwords.items():
        user, role = access.find_user(name), access.find_role(FAB_ROLES[name])
        if user is None:
            if not access.add_user(name, name, "churn", f"{name}@localhost", role, password):
                sys.exit(f"Airflow's user {name} could not be made")
            continue
        # a look first: hashing a password anew would end the user's sessions at every start
        if not check_password_hash(user.password, password):
            access.reset_password(user.id, password)
        if role not in user.roles:  # an earlier version gave the API's user another
            user.roles = [role]
            if not access.update_user(user):
                sys.exit(f"Airflow's user {name} could not be given the role {role.name}")
