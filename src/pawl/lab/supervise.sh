#!/bin/sh
# The supervisor of one lab machine: its "hypervisor". It runs in a session, mount namespace and
# control group of its own, and starts the machine again when it asked for a reboot (nspawn ends
# with 133 then). All mounts live in this mount namespace alone, so they are gone with the machine,
# however it died.
#
# usage: supervise.sh IMAGE MACHINE_DIR CGROUP.PROCS... -- COMMAND...
set -eu
image=$1 dir=$2
shift 2
while [ "$1" != -- ]; do
    echo $$ > "$1"
    shift
done
shift

mkdir -p "$dir/base" "$dir/mount" "$dir/upper" "$dir/work"
# The kernel refuses IMAGE:/ as layers of one file system when IMAGE lies below /; an overlay of
# "/" alone is another file system, and needs a second (empty) layer.
mount -t tmpfs -o mode=0700,size=64k tmpfs "$dir/base"
mkdir "$dir/base/empty" "$dir/base/root"
mount -t overlay -o "lowerdir=$dir/base/empty:/" overlay "$dir/base/root"
mount -t overlay -o "lowerdir=$image:$dir/base/root,upperdir=$dir/upper,workdir=$dir/work" \
    overlay "$dir/mount"

while :; do
    code=0
    "$@" || code=$?
    echo "pawl: the machine ended with $code at $(date -u +%FT%TZ)"
    [ "$code" -eq 133 ] || exit "$code"
done
