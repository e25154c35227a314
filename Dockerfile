# The controller's image: the package and its dependencies, nothing else.
#   docker build -t ghcr.io/lws-kueue/lws-kueue:0.1.0 .
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY lws_kueue ./lws_kueue
# `lws-kueue install` needs the manifests, so the package carries them.
COPY crds ./crds
COPY deploy ./deploy
RUN python -m venv /opt/lws-kueue \
    && /opt/lws-kueue/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
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
