# Notus and all that it needs but the driver: Debian's Python and C compiler, and the packages of a lock by their hashes.
# `nox -s image` builds it from a commit, and twice from the same commit the same image. Without nox:
#   docker build -t notus:cuda .
#   docker build -t notus:cpu --build-arg LOCK=requirements-cpu.lock .

ARG BASE_IMAGE=debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

FROM ${BASE_IMAGE} AS system
# Debian's archive as it was then; empty: as the base image's own sources have it.
ARG DEBIAN_SNAPSHOT=20261120T000000Z
# Triton compiles its launchers with gcc against Python's and libc's headers; nothing else here needs a compiler.
# SOURCE_DATE_EPOCH makes Python's byte code go by hashes of the source, not by times: the build sets all times alike.
RUN set -eu; \
    if [ -n "$DEBIAN_SNAPSHOT" ]; then \
        rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*; \
        archive=http://snapshot.debian.org/archive; \
        signed='[check-valid-until=no signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'; \
        { \
            echo "deb $signed $archive/debian/$DEBIAN_SNAPSHOT bookworm main"; \
            echo "deb $signed $archive/debian/$DEBIAN_SNAPSHOT bookworm-updates main"; \
            echo "deb $signed $archive/debian-security/$DEBIAN_SNAPSHOT bookworm-security main"; \
        } > /etc/apt/sources.list; \
    fi; \
    export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=1; \
    apt-get update -q; \
    apt-get install -q -y --no-install-recommends gcc libc6-dev libpython3-dev python3 python3-venv; \
    python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "notus: the base image has Python " \
        + sys.version.split()[0] + ", and Notus runs on 3.11; build on another BASE_IMAGE")'; \
    rm -rf /tmp/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* /var/lib/apt/lists/* \
        /var/lib/dpkg/*-old /var/log/*

FROM system AS packages
ARG LOCK=requirements.lock
# An index that has the CPU build of torch, for requirements-cpu.lock; empty: where the base image's pip looks anyway.
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
ENV PATH=/opt/notus/bin:$PATH
COPY ${LOCK} /opt/notus/requirements.lock
# Two layers: the first, most of the bytes, changes with torch only; setuptools builds what comes as source in the other.
RUN set -eu; \
    export SOURCE_DATE_EPOCH=1; \
    python3 -m venv /opt/notus; \
    awk '/^[a-z]/ { big = /^(torch|triton|nvidia-|cuda-|setuptools)/ } big' /opt/notus/requirements.lock > /tmp/big.lock; \
    if [ "$LOCK" = requirements-cpu.lock ]; then index=$TORCH_CPU_INDEX; fi; \
    pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r /tmp/big.lock \
        ${index:+--extra-index-url "$index"}; \
    rm -rf /tmp/*
RUN SOURCE_DATE_EPOCH=1 pip install --no-cache-dir --no-deps --require-hashes --no-build-isolation \
        --only-binary :all: --no-binary rouge-score,sqlitedict,word2number -r /opt/notus/requirements.lock \
    && pip check \
    && rm -rf /tmp/*

FROM packages AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE notus.py ./
COPY recipe recipe
COPY modelcard modelcard
COPY commandline commandline
COPY publish publish
COPY container container
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .

FROM packages
# A user of any other id works as well: all that is written goes where a mount or a volume is. Mounts of root's lie
# below /root, which others have to pass.
RUN echo 'notus:x:10001:10001:Notus:/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'notus:x:10001:' >> /etc/group \
    && mkdir /cache /work \
    && chmod 1777 /cache /work \
    && chmod 711 /root
# Before the wheel: a builder's cache may tell by this, and not by the wheel, that the layer is another.
ARG REVISION=unknown
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    SOURCE_DATE_EPOCH=1 pip install --no-cache-dir --no-deps --no-index /wheel/*.whl \
    && rm -rf /tmp/*
ENV HOME=/tmp \
    USER=notus \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    TRITON_CACHE_DIR=/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_REQUIRE_CUDA="cuda>=13.0"
ARG BASE_IMAGE
ARG LOCK=requirements.lock
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Notus" \
    org.opencontainers.image.description="One preference-tuning recipe in, one tagged and verified Hub release out." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="${BASE_IMAGE}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    notus.lock="${LOCK}"
# What builds this very image from that commit, if a command does.
ARG BUILD=
ENV NOTUS_REVISION=${REVISION} NOTUS_BUILD=${BUILD}
USER 10001:10001
WORKDIR /work
# Not /work: what a run made must not vanish with its container.
VOLUME ["/cache", "/tmp"]
# Of `docker build`: images of the OCI format, as buildah makes them, have none. `--runtime docker` gives its containers
# this one.
HEALTHCHECK --interval=5m --timeout=60s --start-period=2m CMD ["notus", "doctor", "--quiet"]
ENTRYPOINT ["notus"]
CMD ["--help"]
