# One image, one command per role: `router`, `scheduler`, `worker`.
# BASE may be any image with Python 3.11 or newer and pip: docker build --build-arg BASE=my/python .
ARG BASE=python:3.13-slim
FROM ${BASE}
WORKDIR /opt/stoker
COPY requirements.lock ./
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements.lock
COPY . .
RUN /opt/venv/bin/pip install --no-cache-dir hatchling \
 && /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && useradd --system --create-home --home-dir /var/lib/stoker stoker
ENV PATH=/opt/venv/bin:$PATH STOKER_DATA_DIR=/var/lib/stoker
USER stoker
VOLUME /var/lib/stoker
ENTRYPOINT ["stoker"]
CMD ["version"]
