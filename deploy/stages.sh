#!/usr/bin/env bash
# The stages of a recipe, each in a container of its own, on a machine that has Docker and nothing of Notus: what
# `notus publish --runtime docker` does where Python is. Started again it goes on: finished stages are not repeated, and
# training goes on after its last checkpoint.
#
#   NOTUS_IMAGE       the image, by digest: a tag may be another image after the next preemption
#   NOTUS_RECIPE      a recipe that ships with Notus, or a file; its lock of pins lies beside it
#   NOTUS_RUN         the run folder
#   NOTUS_CACHE       a folder for the base, the data and compiled kernels, on a disk of this machine
#   NOTUS_TOKEN_FILE  a file with the Hub's token
#   PET_MAX_RESTARTS  how often lost ranks are started again before the stage fails (torchrun's name)
#   PET_NNODES, PET_NODE_RANK, PET_RDZV_ENDPOINT  where several nodes train together (torchrun's names)
#
# SIGTERM ends it with a checkpoint and code 143. Don't `docker stop` the container: use `docker kill --signal TERM notus`.
set -euo pipefail
: "${NOTUS_IMAGE:?}" "${NOTUS_RECIPE:?}" "${NOTUS_RUN:?}" "${NOTUS_CACHE:?}" "${NOTUS_TOKEN_FILE:?}"
nodes=${PET_NNODES:-1} rank=${PET_NODE_RANK:-0}
ending="" client=""

die() {
    echo "stages.sh: $1" >&2
    exit 2
}

engine() { # docker, as whoever may ask it
    if [ "$(id -u)" = 0 ] || id -nG | grep -qw docker; then
        docker "$@"
    else
        sudo docker "$@"
    fi
}

# One SIGTERM and no more: a second one would end the training without its checkpoint. So the client passes none on, and
# what Docker sends when the machine goes down (--stop-signal) is one that does nothing; it waits for the container.
end() {
    ending=yes
    until [ -z "$client" ] || engine kill --signal TERM notus > /dev/null 2>&1; do
        kill -0 "$client" 2> /dev/null || break # it ended by itself; else it has not started yet
        sleep 0.2
    done
}
trap end TERM INT HUP

container() { # DOCKER-OPTION... -- NOTUS-ARGUMENT...
    local options=() code=0
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    if [ -n "$ending" ]; then exit 143; fi
    engine rm --force notus > /dev/null 2>&1 || true # of a machine that lost its power
    # As `--runtime docker` starts it (container/engine.py).
    engine run --rm --name notus --init --sig-proxy=false --stop-signal CONT --stop-timeout 28 \
        --read-only --cap-drop ALL --security-opt no-new-privileges --user "$user" \
        --env "NOTUS_IMAGE=$NOTUS_IMAGE" --volume "$NOTUS_RUN:/work/run" --volume "$NOTUS_CACHE:/cache" \
        "${recipes[@]}" "${options[@]}" "$NOTUS_IMAGE" "$@" &
    client=$!
    wait "$client" || code=$?
    if [ -n "$ending" ]; then # that was the signal; now the end of the client, and of the container if that lives on
        wait "$client" || true
        engine wait notus > /dev/null 2>&1 || true
        code=143
    fi
    client=""
    if [ "$code" != 0 ]; then exit "$code"; fi
}

case $NOTUS_IMAGE in
    *@sha256:?* | sha256:?*) ;;
    *) die "NOTUS_IMAGE: $NOTUS_IMAGE is no digest; give NAME@sha256:..., as \`docker push\` prints it" ;;
esac
[ -s "$NOTUS_TOKEN_FILE" ] || die "NOTUS_TOKEN_FILE: no token in $NOTUS_TOKEN_FILE"

user=$(id -u):$(id -g)
mkdir -p "$NOTUS_RUN" "$NOTUS_CACHE/huggingface" "$NOTUS_CACHE/triton" "$NOTUS_CACHE/inductor"
if [ "$(id -u)" = 0 ]; then # root's containers are not root's
    user=10001:10001
    chown "$user" "$NOTUS_RUN" "$NOTUS_CACHE" "$NOTUS_CACHE"/* "$NOTUS_TOKEN_FILE"
fi
recipe=$NOTUS_RECIPE recipes=()
if [ -f "$NOTUS_RECIPE" ]; then # with what it extends, and its lock
    recipe=/run/notus/$(basename "$NOTUS_RECIPE")
    recipes=(--volume "$(cd "$(dirname "$NOTUS_RECIPE")" && pwd):/run/notus:ro")
fi

if ! engine image inspect "$NOTUS_IMAGE" > /dev/null 2>&1 && ! engine pull --quiet "$NOTUS_IMAGE"; then
    command -v gcloud > /dev/null || die "NOTUS_IMAGE: $NOTUS_IMAGE can't be pulled"
    # A registry of one's own project, perhaps, which this machine's service account may read.
    if [ "$(id -u)" = 0 ]; then run=(); else run=(sudo); fi
    "${run[@]}" gcloud auth configure-docker "${NOTUS_IMAGE%%/*}" --quiet
    engine pull --quiet "$NOTUS_IMAGE" || die "NOTUS_IMAGE: $NOTUS_IMAGE can't be pulled"
fi

# The network and the token for what needs them, the GPUs for what computes, and never both; but nodes meet by the
# network of their machines.
online=(--network bridge --env HF_TOKEN_PATH=/run/secrets/hf_token --volume "$NOTUS_TOKEN_FILE:/run/secrets/hf_token:ro")
gpus=(--gpus all --shm-size 16g --ulimit memlock=-1 --env HF_HUB_OFFLINE=1)
gpus+=(--volume "$NOTUS_CACHE/huggingface:/cache/huggingface:ro" --env "PET_MAX_RESTARTS=${PET_MAX_RESTARTS:-3}")

container "${gpus[@]}" --network none -- doctor --gpu --quiet
if [ "$rank" = 0 ]; then
    container "${online[@]}" -- fetch "$recipe" --run /work/run --check-release
else
    container "${online[@]}" -- fetch "$recipe" --run /work/run
fi
if [ "$nodes" = 1 ]; then
    container "${gpus[@]}" --network none -- train "$recipe" --run /work/run
else
    container "${gpus[@]}" --network host -- train "$recipe" --run /work/run \
        --nnodes "$nodes" --node-rank "$rank" --rdzv-endpoint "${PET_RDZV_ENDPOINT:?}"
fi
if [ "$rank" != 0 ]; then exit 0; fi # node 0 makes the release
container "${gpus[@]}" --network none -- card "$recipe" --run /work/run
container "${online[@]}" -- publish "$recipe" --run /work/run --hub remote
