# GPU image: CUDA, vLLM and DeepSpeed. From the root of a checkout:
#
#   docker build -f launch/docker/cuda.Dockerfile -t rlvr:cuda .
#   mkdir -p runs
#   docker run --rm --gpus all --ipc host -v "$PWD/runs:/home/rlvr/runs" -v "$HOME/.cache:/home/rlvr/.cache" rlvr:cuda \
#     accelerate launch --config_file /opt/rlvr/launch/accelerate/zero3.yaml -m rlvr.train recipes/paper/grpo.yaml
#
# --ipc host: NCCL and the data loaders share memory between processes, and Docker's default of 64 MB is too small.
# The tag has CUDA's compiler, with which DeepSpeed builds its operators at the first start. Not built by our tests.
# The process is user 1000. A folder that Docker makes for -v belongs to root, so make `runs` before the first start.
FROM nvidia/cuda:12.8.1-devel-ubuntu24.04

# Not pinned: Ubuntu keeps only the newest version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap git ninja-build python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH

RUN python3 -m venv /opt/venv

WORKDIR /opt/rlvr
COPY . .
# vLLM pins the torch that it was built for, so it chooses torch, and constraints.txt, which is for CPUs, stays out. TRL
# 1.16 takes vLLM 0.22 to 0.31.
# hadolint ignore=DL3013
RUN pip install '.[deepspeed,quantization,vision,vllm]' 'vllm>=0.22,<0.32'

# The image of Ubuntu 24.04 has a user with the id 1000 already.
RUN userdel --remove ubuntu && useradd --create-home --uid 1000 rlvr && install --directory --owner=rlvr /home/rlvr/runs
USER 1000
WORKDIR /home/rlvr
CMD ["rlvr", "--help"]
