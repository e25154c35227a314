# The controller's image: the package and its dependencies, nothing else.
#   docker build -t ghcr.io/lws-kueue/lws-kueue:0.1.0 .
# A tag moves. What it points to today is said by
#   docker buildx imagetools inspect python:3.11-slim --format '{{.Manifest.Digest}}'
# and is built from, today and later, by
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:... -t ... .
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# Every file that comes from outside is one whose hash is known: `make lock`.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        --requirement requirements-build.lock \
    && python -m venv --without-pip /opt/lws-kueue \
    && python -m pip --python /opt/lws-kueue/bin/python install --no-cache-dir --require-hashes \
        --only-binary :all: --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY lws_kueue ./lws_kueue
# `lws-kueue install` needs the manifests, so the package carries them.
COPY crds ./crds
COPY deploy ./deploy
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index \
        --wheel-dir /wheels . \
    && python -m pip --python /opt/lws-kueue/bin/python install --no-cache-dir --no-deps \
        --no-index /wheels/*.whl

FROM ${PYTHON_IMAGE}
# Nothing is installed where this runs.
RUN python -m pip uninstall --yes --root-user-action=ignore pip setuptools wheel \
    && rm -rf /usr/local/lib/python3*/ensurepip
COPY --from=build /opt/lws-kueue /opt/lws-kueue
# The root file system is read-only where this runs, and logs must not wait in a buffer.
ENV PATH=/opt/lws-kueue/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# For --version and the user agent: docker build --build-arg GIT_COMMIT=... --build-arg BUILD_DATE=...
ARG GIT_COMMIT=""
ARG BUILD_DATE=""
ENV LWS_KUEUE_GIT_COMMIT=$GIT_COMMIT \
    LWS_KUEUE_BUILD_DATE=$BUILD_DATE
USER 65532:65532
ENTRYPOINT ["lws-kueue"]
CMD ["run"]
