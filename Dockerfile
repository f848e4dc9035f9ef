# syntax=docker/dockerfile:1

ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
COPY . /src
RUN /src/packaging/image/build-tree.sh /src

FROM python:${PYTHON}
# Debian removes a version when it replaces it, so that a pinned one soon cannot be installed.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=1000 --group=1000 /tmp/vmanomaly
COPY --from=build /opt/vmanomaly /opt/vmanomaly
COPY --from=build /vmanomaly /vmanomaly
# The compiled kernels are for this name of a processor, and no other.
ENV PATH=/opt/vmanomaly/bin:$PATH \
    NUMBA_CPU_NAME=generic \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /vmanomaly
USER 1000:1000
EXPOSE 8490 8080
ENTRYPOINT ["vmanomaly"]
CMD ["--help"]
