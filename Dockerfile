# Build: everything pinned and checked by hash; the wheel is made without a further download.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock requirements-dev.lock ./
RUN python -m venv /opt/htsgate \
 && /opt/htsgate/bin/pip install --require-hashes -r requirements.lock \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements-dev.lock
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY formats formats
COPY storage_backends storage_backends
COPY auth auth
COPY conformance conformance
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/htsgate/bin/pip install --no-deps /wheels/*.whl \
 && /opt/htsgate/bin/pip uninstall --yes pip

# Run: the environment alone, as a user that owns nothing.
FROM python:3.13-slim
LABEL org.opencontainers.image.title="htsgate" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/htsgate/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent htsgate \
 && mkdir /data
COPY --from=build /opt/htsgate /opt/htsgate
USER 10001
WORKDIR /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
ENTRYPOINT ["htsgate"]
CMD ["serve", "/data", "--host", "0.0.0.0", "--port", "8080"]
