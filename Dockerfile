# The proxy alone, with its vocabularies; nothing is fetched when it runs, and its root file system may be read-only.
#   docker build -t oaiproxy .
#   docker run -p 127.0.0.1:8000:8000 oaiproxy
#   docker run -v "$PWD/config.yaml:/etc/oaiproxy/config.yaml:ro" -v "$PWD/mappings:/etc/oaiproxy/mappings:ro" ... oaiproxy

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY oaiproxy oaiproxy
COPY mappings mappings
COPY schemas schemas
COPY deploy/constraints.txt ./
RUN python -m pip wheel --no-deps --wheel-dir /dist /src
RUN python -m venv /opt/oaiproxy
# Each dependency is the file that was tried, by its hash, or none.
RUN /opt/oaiproxy/bin/python -m pip install --no-compile --only-binary :all: --require-hashes --requirement constraints.txt
RUN /opt/oaiproxy/bin/python -m pip install --no-compile --no-deps /dist/oaiproxy-*.whl
RUN /opt/oaiproxy/bin/python -m pip uninstall --yes --quiet pip
# Compiled here, once: the process cannot write there. By hash, so that the files' times do not matter.
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/oaiproxy/lib

FROM python:3.13-slim
ENV PATH=/opt/oaiproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/oaiproxy /opt/oaiproxy
COPY config.yaml /etc/oaiproxy/config.yaml
COPY mappings /etc/oaiproxy/mappings
WORKDIR /etc/oaiproxy
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["oaiproxy", "healthcheck"]
ENTRYPOINT ["oaiproxy"]
# All interfaces, and without keys if there are none, since the container is the border here: publish the port on loopback,
# as above, or give clients `keys`. The sidecar binds to the pod's loopback instead.
CMD ["serve", "--config", "/etc/oaiproxy/config.yaml", "--host", "0.0.0.0", "--port", "8000", "--insecure"]
