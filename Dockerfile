# One image for every process: `quorate COMMAND`. It runs as a user without a home, and writes only to volumes and /tmp.
FROM python:3.11-slim AS build
RUN python -m venv /opt/quorate
WORKDIR /src
COPY . .
RUN /opt/quorate/bin/pip install --no-cache-dir --constraint constraints.txt '.[dashboard,postgres,s3]'

FROM python:3.11-slim
# The user's id is the host user's, so that it may read secret files that nobody else may.
ARG UID=1000
RUN groupadd --gid "$UID" quorate \
    && useradd --uid "$UID" --gid "$UID" --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin quorate \
    && install -d -o "$UID" -g "$UID" -m 0700 /state \
    && install -d -o "$UID" -g "$UID" -m 0755 /data /deployment /secrets
COPY --from=build /opt/quorate /opt/quorate
ENV PATH=/opt/quorate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER quorate
ENTRYPOINT ["quorate"]
CMD ["--help"]
