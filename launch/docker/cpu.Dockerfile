# CPU image: the lab, tests, checks of recipes, reports. From the root of a checkout:
#
#   docker build -f launch/docker/cpu.Dockerfile -t rlvr:cpu .
#   mkdir -p runs
#   docker run --rm -v "$PWD/runs:/home/rlvr/runs" rlvr:cpu train recipes/quickstart/lab_grpo.yaml
#
# The process is user 1000. A folder that Docker makes for -v belongs to root, so make `runs` before the first start.
FROM python:3.11-slim-bookworm

# The sandbox of unit_tests, and git for the commit in recipe.json. Not pinned: Debian keeps only the newest version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap git \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

WORKDIR /opt/rlvr
COPY constraints.txt ./
RUN pip install -c constraints.txt torch --index-url https://download.pytorch.org/whl/cpu
COPY . .
RUN pip install -c constraints.txt .

RUN useradd --create-home --uid 1000 rlvr && install --directory --owner=rlvr /home/rlvr/runs
USER 1000
WORKDIR /home/rlvr
ENTRYPOINT ["rlvr"]
CMD ["--help"]
