# Two images of one program: `worker` for CPUs (stream workers, stages, Ray head, jobs), and `gpu` with vLLM.
#
#   docker build --target worker --tag sluicegate/sluicegate:0.1.0 .
#   docker build --target gpu --tag sluicegate/sluicegate-gpu:0.1.0 .
#
# Everything from Python is installed by hash. The base is pinned by tag, and by digest where you give one:
#   docker buildx imagetools inspect python:3.11.14-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker build --build-arg BASE_DIGEST=@sha256:… …
# Runs with a read-only root: what is written goes to /tmp, /dev/shm and /var/lib/sluicegate.

ARG BASE=python:3.11.14-slim-bookworm
ARG BASE_DIGEST=""

FROM ${BASE}${BASE_DIGEST} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYC_INVALIDATION_MODE=CHECKED_HASH SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY requirements/uv.txt requirements/dev.txt requirements/
RUN python -m venv /opt/tools
RUN /opt/tools/bin/python -m pip install --quiet --require-hashes --no-deps --requirement requirements/uv.txt
RUN awk '/^setuptools==/ { on = 1 } on && /# via/ { exit } on' requirements/dev.txt > setuptools.txt
RUN /opt/tools/bin/uv pip install --quiet --python /opt/tools/bin/python --require-hashes --no-deps --requirement setuptools.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY topology topology
COPY serving serving
COPY workers workers
RUN /opt/tools/bin/uv build --quiet --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir dist .

FROM build AS build-worker
COPY requirements/runtime.txt requirements/
RUN /opt/tools/bin/uv venv --quiet --python python3 /opt/sluicegate
RUN /opt/tools/bin/uv pip sync --quiet --compile-bytecode --python /opt/sluicegate/bin/python --require-hashes requirements/runtime.txt
RUN /opt/tools/bin/uv pip install --quiet --compile-bytecode --python /opt/sluicegate/bin/python --offline --no-deps dist/*.whl

FROM build AS build-gpu
COPY requirements/gpu.txt requirements/
RUN /opt/tools/bin/uv venv --quiet --python python3 /opt/sluicegate
RUN /opt/tools/bin/uv pip sync --quiet --python /opt/sluicegate/bin/python --require-hashes requirements/gpu.txt
RUN /opt/tools/bin/uv pip install --quiet --python /opt/sluicegate/bin/python --offline --no-deps dist/*.whl

FROM ${BASE}${BASE_DIGEST} AS base
LABEL org.opencontainers.image.title="Sluicegate" \
      org.opencontainers.image.licenses="Apache-2.0"
# The base's own pip and setuptools go. A login shell, by which older Ray operators start Ray, resets PATH.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore setuptools wheel pip \
    && groupadd --gid 1000 sluicegate \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp --shell /bin/bash sluicegate \
    && install --directory --owner 1000 --group 1000 /var/lib/sluicegate \
    && echo 'export PATH=/opt/sluicegate/bin:$PATH' > /etc/profile.d/sluicegate.sh
ENV PATH=/opt/sluicegate/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 RAY_USAGE_STATS_ENABLED=0 VLLM_NO_USAGE_STATS=1
WORKDIR /tmp
EXPOSE 9464

FROM base AS gpu
LABEL org.opencontainers.image.description="Sluicegate with vLLM for GPUs"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# Triton compiles launchers for its kernels when a model is loaded.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY --from=build-gpu /opt/sluicegate /opt/sluicegate
USER 1000:1000
ENTRYPOINT ["sluicegate"]
CMD ["--help"]

FROM base AS worker
LABEL org.opencontainers.image.description="Sluicegate's stream workers, stages and command line"
COPY --from=build-worker /opt/sluicegate /opt/sluicegate
USER 1000:1000
ENTRYPOINT ["sluicegate"]
CMD ["run"]
