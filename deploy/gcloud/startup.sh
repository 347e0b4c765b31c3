#!/usr/bin/env bash
# Start-up script of a GCP spot machine: at each start it goes on with the run, until the release is made. The machine's
# image has the NVIDIA driver (580 or later), Docker and NVIDIA's container toolkit; nothing is installed here. README.md
# has the commands. What to do is in the instance's metadata:
#
#   notus-image         the image, by digest
#   notus-recipe        the name of a recipe
#   notus-recipe-yaml   optional: that recipe, if it does not ship with Notus
#   notus-recipe-lock   optional: its pins, as `notus recipe pin` wrote them beside it
#   notus-token-secret  the name of a secret in Secret Manager: the Hub's token
#   notus-stages        the contents of deploy/stages.sh
#
# The run folder lies on the disk whose device name is `notus`, formatted when it is new, else on the boot disk: a file
# system's renames and locks, and it outlives the machine. A preempted machine gets 30 s: systemd stops the unit first,
# Docker and the disk after it, and the trainer has 28 s for its checkpoint.
set -euo pipefail
root=${NOTUS_ROOT:-/var/lib/notus} state=${NOTUS_STATE:-/run/notus} units=${NOTUS_UNITS:-/run/systemd/system}
disk=${NOTUS_DISK:-/dev/disk/by-id/google-notus}

say() { echo "notus: $*" >&2; } # to the serial console

metadata() { # NAME [DEFAULT]: of the instance
    local url=http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1/instance/$1
    if ! curl --fail --silent --retry 5 --retry-connrefused --header 'Metadata-Flavor: Google' "$url"; then
        [ $# = 2 ] || { say "the metadata have no $1" && exit 2; }
        printf %s "$2"
    fi
}

# Nothing more to do until somebody asks: don't pay for eight GPUs. A managed instance group would start it again.
switch_off() {
    local group
    group=$(metadata attributes/created-by "")
    if [[ $group == */instanceGroupManagers/* ]]; then
        gcloud compute instance-groups managed resize "${group##*/}" --size 0 --quiet \
            --zone "$(basename "$(metadata zone)")"
    else
        systemctl poweroff --no-block
    fi
}

# Called by the unit when its script has ended.
if [ "${1:-}" = ended ]; then
    case ${EXIT_STATUS:-} in
        0)
            touch "$root/finished"
            rm -f "$root/failures"
            say "the release is made; switching off"
            switch_off
            ;;
        2)
            say "a mistake, as said above; mend it and start this machine again. Switching off"
            switch_off
            ;;
        143) ;; # the notice: it goes on when the machine is started again
        *)
            failures=$(($(cat "$root/failures" 2> /dev/null || echo 0) + 1))
            echo "$failures" > "$root/failures"
            if [ "$failures" -ge 5 ]; then
                say "failed $failures times; look above, remove $root/failures, start it again. Switching off"
                switch_off
            fi # else systemd starts it again
            ;;
    esac
    exit 0
fi

command -v docker > /dev/null || { say "this machine's image has no Docker; README.md says what it needs" && exit 2; }
mkdir -p "$root" "$state" "$units"
if [ -e "$disk" ] && ! mountpoint --quiet "$root"; then
    if ! blkid "$disk" > /dev/null; then mkfs.ext4 -q "$disk"; fi
    mount -o discard,defaults "$disk" "$root"
fi
if [ -e "$root/finished" ]; then
    say "the release was made; remove $root/finished to make another"
    switch_off
    exit 0
fi

recipe=$(metadata attributes/notus-recipe)
run=$root/runs/$recipe
text=$(metadata attributes/notus-recipe-yaml "")
if [ -n "$text" ]; then
    mkdir -p "$state/recipes"
    printf '%s\n' "$text" > "$state/recipes/$recipe.yaml"
    metadata attributes/notus-recipe-lock "{}" > "$state/recipes/$recipe.lock.json"
    recipe=$state/recipes/$recipe.yaml
fi
image=$(metadata attributes/notus-image)
secret=$(metadata attributes/notus-token-secret)
metadata attributes/notus-stages > "$state/stages.sh"
install -m 755 "$0" "$state/startup.sh"
(umask 077 && gcloud secrets versions access latest --secret "$secret" > "$state/token") # /run is on no disk

cat > "$state/environment" << END
NOTUS_IMAGE=$image
NOTUS_RECIPE=$recipe
NOTUS_RUN=$run
NOTUS_CACHE=$root/cache
NOTUS_TOKEN_FILE=$state/token
PET_MAX_RESTARTS=3
HOME=/root
END
cat > "$units/notus.service" << END
[Unit]
Description=Notus: the stages of a recipe
Requires=docker.service
After=docker.service network-online.target
RequiresMountsFor=$root
StartLimitIntervalSec=0

[Service]
EnvironmentFile=$state/environment
ExecStart=/bin/bash $state/stages.sh
ExecStopPost=/bin/bash $state/startup.sh ended
# To the script only: it passes one SIGTERM on, and waits.
KillMode=mixed
TimeoutStopSec=28
SuccessExitStatus=143
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=2 143
StandardOutput=journal+console
StandardError=journal+console
END
systemctl daemon-reload
systemctl start --no-block notus.service
