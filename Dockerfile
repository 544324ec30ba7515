# Every image of the platform, one target each (`docker build --target api .`): they share their first
# stages, and each holds the packages of its own lock and no others.

FROM python:3.13-slim AS base
# LightGBM computes with OpenMP, whose library a slim image lacks
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin churn
# SAFEPATH: the working folder may be a person's own, and no place to import from
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 \
    HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /app

FROM base AS installer
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never HOME=/root
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/uv \
 && /opt/uv/bin/pip install --quiet uv==0.13.9 \
 && python -m venv --without-pip /opt/venv

# Bytecode is compiled here, once: the services may not write it, and every start would compile anew.
FROM installer AS airflow-packages
COPY requirements/airflow.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python --require-hashes --compile-bytecode --requirement /tmp/requirements.txt

FROM installer AS api-packages
COPY requirements/api.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python --require-hashes --compile-bytecode --requirement /tmp/requirements.txt

FROM installer AS mlflow-packages
COPY requirements/mlflow.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python --require-hashes --compile-bytecode --requirement /tmp/requirements.txt

FROM installer AS ui-packages
COPY requirements/ui.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/venv/bin/python --require-hashes --compile-bytecode --requirement /tmp/requirements.txt

# In all that follows: a named volume takes its owner from the folder that it is first mounted over.

# The API; also what makes the secrets and brings the store to this version before each start.
FROM base AS api
RUN install --directory --owner churn --group churn /var/lib/churn /var/lib/mlflow /scratch /secrets \
    /secrets/airflow /secrets/api /secrets/mlflow /secrets/postgres /secrets/ui
COPY --from=api-packages /opt/venv /opt/venv
COPY churn/ churn/
COPY api/ api/
RUN python -m compileall -q churn api
ENV CHURN_HOME=/var/lib/churn
USER 10001:10001
EXPOSE 5055
# the container listens to all; where people reach it, CHURN_BIND and the published port say
CMD ["gunicorn", "--config", "api/gunicorn_conf.py", "--bind", "0.0.0.0:5055", "--worker-tmp-dir", "/dev/shm"]

# Airflow's services, and the command line.
FROM base AS airflow
RUN install --directory --owner churn --group churn /var/lib/airflow /var/lib/airflow/logs /var/lib/churn
COPY --from=airflow-packages /opt/venv /opt/venv
ENV AIRFLOW_HOME=/var/lib/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/app/airflow/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/app/airflow/plugins
COPY churn/ churn/
COPY airflow/ airflow/
RUN python -m compileall -q churn airflow
# the checkout's revision, which a training records; an archive without .git builds too, by the first name
COPY requirements/airflow.txt .gi[t] .git/
USER 10001:10001

FROM base AS mlflow
RUN install --directory --owner churn --group churn /var/lib/mlflow
COPY --from=mlflow-packages /opt/venv /opt/venv
WORKDIR /var/lib/mlflow
USER 10001:10001
EXPOSE 5000

FROM base AS ui
COPY --from=ui-packages /opt/venv /opt/venv
COPY churn/ churn/
COPY streamlit_app/ streamlit_app/
RUN python -m compileall -q churn streamlit_app
USER 10001:10001
EXPOSE 8501
CMD ["streamlit", "run", "streamlit_app/app.py", "--server.address", "0.0.0.0", "--server.port", "8501", \
     "--server.headless", "true", "--browser.gatherUsageStats", "false"]

FROM debian:trixie-slim AS proxy
RUN apt-get update \
 && apt-get install --yes --no-install-recommends haproxy \
 && rm -rf /var/lib/apt/lists/*
COPY proxy/haproxy.cfg /etc/haproxy/haproxy.cfg
USER 10001:10001
EXPOSE 5055
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"]
