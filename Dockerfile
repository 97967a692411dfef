# syntax=docker/dockerfile:1
# One file, an image for each role. `api` has neither OpenVINO nor OpenCV; `worker` runs the
# network's graph; `model` builds that graph with torch and timm, which stay out of `worker`.

FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 \
    FATHOM_CACHE_DIR=/var/cache/fathom
WORKDIR /app
RUN useradd --system --uid 10001 --home-dir /app fathom \
    && install -d -o fathom -g fathom /var/cache/fathom
# The client brings the `fathom` command, for API keys and the doctor.
COPY fathom fathom
RUN pip install --editable ./fathom
COPY pyproject.toml ./
COPY shared shared

FROM base AS api
RUN pip install --editable '.[api,tracing]'
COPY api api
USER fathom
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
CMD ["gunicorn", "--config", "python:api.server.gunicorn_conf", "--bind", "0.0.0.0:8080", "api.wsgi:app"]

FROM base AS pipeline
RUN pip install --editable '.[worker,clips,tracing]'
COPY worker worker
# `fathom model add` tries models on it.
COPY samples/clock.jpg samples/

FROM pipeline AS model
# `auto` takes the official checkpoint, and the bundled starter weights where that
# cannot be fetched; `random` is for trying the service out without any.
ARG FATHOM_WEIGHTS=auto
ARG FATHOM_MODEL=midas_small
RUN pip install --index-url https://download.pytorch.org/whl/cpu torch==2.13.0 torchvision==0.28.0 \
    && pip install --editable '.[model]'
USER fathom
RUN fathom model fetch --no-prepare ${FATHOM_MODEL} || true
RUN FATHOM_MODEL=${FATHOM_MODEL} FATHOM_WEIGHTS=${FATHOM_WEIGHTS} python -m fathom.stack.prepare

FROM pipeline AS worker
ARG FATHOM_WEIGHTS=auto
ARG FATHOM_MODEL=midas_small
ENV FATHOM_MODEL=${FATHOM_MODEL} FATHOM_WEIGHTS=${FATHOM_WEIGHTS} OMP_NUM_THREADS=1
COPY --from=model --chown=fathom:fathom /var/cache/fathom /var/cache/fathom
USER fathom
# Celery hands SIGTERM on as a warm shutdown: images in hand are finished, leases given back.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s --retries=3 \
    CMD celery --app worker.app inspect ping --destination "celery@$HOSTNAME" --timeout 10
CMD ["celery", "--app", "worker.app", "--quiet", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat"]
