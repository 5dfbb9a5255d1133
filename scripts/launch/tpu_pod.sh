#!/bin/bash
# One trainbench run on all hosts of a Cloud TPU slice of TPU VMs, one process per host. From the checkout, once:
#   scripts/launch/tpu_pod.sh install
# then, as often as you like:
#   scripts/launch/tpu_pod.sh run model=resnet50 batch_size=256
#   scripts/launch/tpu_pod.sh fetch          brings process 0's results here, into outputs-TPU/
#   scripts/launch/tpu_pod.sh stop           SIGTERM on every host: checkpoint, result, end (Ctrl-C here ends ssh only)
#
# Fill in, or set in the environment:
TPU=${TPU:-my-tpu}                 # name of the slice (gcloud compute tpus tpu-vm list)
ZONE=${ZONE:-us-east5-b}
PROJECT=${PROJECT:-my-project}
PYTHON_VERSION=${PYTHON_VERSION:-3.12}   # trainbench needs 3.11 or later, which images of TPU VMs may lack

set -euo pipefail
cd "$(dirname "$0")/../.."

on_all_hosts() {
    gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --project "$PROJECT" --worker=all --command "$1"
}

# Sends what is committed. uv brings a Python of its own (the image's may be too old, and in newer images it takes
# no packages without being told twice); the rest is the README's command.
install() {
    local archive
    archive=$(mktemp --suffix=.tar.gz)
    git archive --format=tar.gz --output="$archive" HEAD
    gcloud compute tpus tpu-vm scp "$archive" "$TPU:trainbench.tar.gz" \
        --zone "$ZONE" --project "$PROJECT" --worker=all
    rm "$archive"
    on_all_hosts "set -e
        mkdir -p trainbench && tar -xzf trainbench.tar.gz -C trainbench && cd trainbench
        python3 -m pip install --quiet --user uv || python3 -m pip install --quiet --user --break-system-packages uv
        python3 -m uv venv --quiet --seed --clear --python $PYTHON_VERSION .venv
        .venv/bin/pip install --quiet -c constraints.txt -e '.[image,text,tpu]'"
}

# The same command on every host: they find each other by the metadata of the slice.
run() {
    local overrides
    printf -v overrides '%q ' distributed.cluster=tpu "$@"
    on_all_hosts "cd trainbench && echo \$\$ > run.pid && exec .venv/bin/python -m trainbench $overrides"
}

stop() {
    on_all_hosts "kill -TERM \$(cat trainbench/run.pid)"
}

fetch() {
    gcloud compute tpus tpu-vm scp --recurse "$TPU:trainbench/outputs" "outputs-$TPU" \
        --zone "$ZONE" --project "$PROJECT" --worker=0
}

case "${1:-}" in
    install | run | stop | fetch) "$@" ;;
    *)
        echo "usage: $0 install | run OVERRIDES... | stop | fetch" >&2
        exit 2
        ;;
esac
