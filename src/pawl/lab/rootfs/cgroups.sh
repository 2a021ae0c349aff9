#!/bin/sh
# nspawn gives cgroup v1 controllers read-only; on cgroup v2 there is nothing to do.
set -eu
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || exit 0
for c in cpu cpuacct cpu,cpuacct cpuset memory devices freezer blkio pids net_cls,net_prio hugetlb perf_event; do
    [ ! -d "/sys/fs/cgroup/$c" ] || mountpoint -q "/sys/fs/cgroup/$c" || continue
    [ ! -d "/sys/fs/cgroup/$c" ] || mount -o remount,rw,bind "/sys/fs/cgroup/$c"
done
mount --make-rshared /
