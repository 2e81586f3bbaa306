# The image of the pipeline. Dagster's code server, webserver and daemon are three services of this image.

ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/* \
    && python -m venv --without-pip /opt/emm
# Install the dependencies first: their layer is reused while only the code changes. `make requirements` writes the files;
# pip refuses a file with another hash, and builds none from source, which would need packages without a hash.
COPY docker/requirements.txt docker/build-requirements.txt ./
RUN pip install --no-cache-dir --only-binary :all: --requirement build-requirements.txt \
    && pip --python /opt/emm/bin/python install --no-cache-dir --no-compile --only-binary :all: --requirement requirements.txt
COPY pyproject.toml ./
COPY emm_pipeline emm_pipeline
COPY docker/trim-packages ./
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
    && pip --python /opt/emm/bin/python install --no-cache-dir --no-compile --no-deps --no-index /tmp/wheel/*.whl \
    && /opt/emm/bin/python trim-packages

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/emm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    DAGSTER_HOME=/var/lib/dagster \
    OUTBOX_DIR=/var/lib/emm/outbox
# The folders of volumes belong to the user: a new volume gets the owner of its folder. (472 is Grafana's user, whose
# volume the service `backup` mounts.)
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin emm \
    && for service in postgres influxdb grafana redis pipeline dagster mqtt web; do mkdir -p "/run/emm/$service"; done \
    && mkdir -p /var/lib/dagster/storage /var/lib/emm/outbox /var/lib/emm/watchdog /var/lib/emm/proxy && mkdir -m 700 /run/emm/secrets \
    && mkdir -p /var/lib/grafana && chown 472:0 /var/lib/grafana \
    && chown emm: /var/lib/dagster/storage /var/lib/emm/outbox /var/lib/emm/watchdog /var/lib/emm/proxy /run/emm/*
COPY --from=build /opt/emm /opt/emm
COPY dagster.yaml workspace.yaml /var/lib/dagster/
COPY docker/emm-init docker/emm-healthcheck /usr/local/bin/
WORKDIR /var/lib/dagster
USER 10001
CMD ["emm", "--help"]
