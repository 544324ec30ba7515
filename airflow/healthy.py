"""A container's healthcheck: whether Airflow reports these of its components as healthy.

Usage: ``healthy.py COMPONENT...``, of metadatabase, scheduler, dag_processor, triggerer. It asks over
HTTP instead of ``airflow jobs check``, which loads Airflow (seconds of a processor) at every look.
"""

import json
import sys
from urllib.request import urlopen

HEALTH = "http://airflow-api-server:8080/api/v2/monitor/health"

with urlopen(HEALTH, timeout=5) as reply:
    health = json.load(reply)
ill = {name: health[name] for name in sys.argv[1:] if health[name]["status"] != "healthy"}
sys.exit(json.dumps(ill) if ill else 0)
