"""Airflow's own users, as the stack's secrets say: made where they are missing, their passwords set.

Usage: ``users.py FILE``, a JSON object of names and passwords. Users that somebody makes in Airflow's
pages stay as they are.
"""

import json
import sys
from pathlib import Path

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from werkzeug.security import check_password_hash

from churn.credentials import AIRFLOW_USERS

passwords = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
with get_application_builder() as builder:
    access = builder.sm
    for name, password in passwords.items():
        user, role = access.find_user(name), access.find_role(AIRFLOW_USERS[name].capitalize())
        if user is None:
            if not access.add_user(name, name, "churn", f"{name}@localhost", role, password):
                sys.exit(f"Airflow's user {name} could not be made")
        # a look first: hashing a password anew would end the user's sessions at every start
        elif not check_password_hash(user.password, password):
            access.reset_password(user.id, password)
