#!/bin/busybox sh
# Process 1 of the guest in which the boot test runs. It uses OpenZFS step by step and says on the console how each step
# went; model/boot_test/console.rs evaluates the lines. A step that fails is the last one.

export PATH=/bin LD_LIBRARY_PATH=/lib64
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
# From here on only errors of the kernel may come between our own lines. The rest is shown when a step fails.
echo 4 >/proc/sys/kernel/printk

for word in $(cat /proc/cmdline); do
    case $word in
    zfs_kmods.boot=*) boot=${word#*=} ;;
    zfs_kmods.run=*) run=${word#*=} ;;
    esac
done

# The line of a step: NAME ok|failed DETAIL. It begins on a new line, wherever the kernel has left the cursor.
say() {
    printf '\nzfs-kmods-boot-test 1 %s %s %s %s %s\n' "$run" "$boot" "$1" "$2" \
        "$(printf %s "$3" | tr '\n\t' '  ' | tr -cd ' -~' | head -c 400)"
}

step() {
    name=$1
    if detail=$("run_$name" 2>&1); then
        say "$name" ok "$detail"
    else
        dmesg | tail -n 60
        say "$name" failed "$detail"
        poweroff -f
    fi
}

# Modules in their order, one a line, with their parameters.
load() {
    while read -r module parameters; do
        # Not quoted: several parameters are several words.
        insmod "/modules/$module" $parameters || return 1
    done <"/modules/$1"
}

# The kernel itself must think so, not only the program that was asked to do it.
online() {
    test "$(cat /proc/spl/kstat/zfs/tank/state)" = ONLINE && grep -q '^tank/data /tank/data zfs ' /proc/mounts
}

digest() {
    cat /tank/data/random /tank/data/copy | sha256sum | cut -d ' ' -f 1
}

run_start() {
    uname -r
}

run_drivers() {
    load drivers || return 1
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        test -b /dev/vda1 && return
        sleep 1
    done
    echo 'no disk appeared'
    return 1
}

run_spl() {
    load spl && cat /sys/module/spl/version
}

run_zfs() {
    load zfs && cat /sys/module/zfs/version
}

run_create() {
    zpool create -o cachefile=none -m /tank tank /dev/vda1 && cat /proc/spl/kstat/zfs/tank/state
}

run_dataset() {
    zfs create tank/data && online
}

# Random bytes as they are, and others that can be compressed.
run_write() {
    dd if=/dev/urandom of=/tank/data/random bs=1M count=8 2>/dev/null && cp /modules/zfs.ko /tank/data/copy &&
        zpool sync tank && digest
}

run_snapshot() {
    zfs snapshot tank/data@before && zfs list -H -t snapshot -o name tank/data@before
}

run_scrub() {
    zpool scrub -w tank && zpool status tank | grep 'scrub repaired 0B .* with 0 errors'
}

run_status() {
    zpool status -x tank | grep "pool 'tank' is healthy"
}

run_export() {
    zpool export tank && ! test -e /proc/spl/kstat/zfs/tank
}

run_import() {
    zpool import -o cachefile=none -d /dev/vda1 tank && online && cat /proc/spl/kstat/zfs/tank/state
}

run_read() {
    digest
}

run_change() {
    dd if=/dev/zero of=/tank/data/random bs=1M count=1 conv=notrunc 2>/dev/null && digest
}

run_rollback() {
    zfs rollback tank/data@before && digest
}

run_destroy() {
    zpool destroy tank && ! test -e /proc/spl/kstat/zfs/tank
}

run_taint() {
    cat /proc/sys/kernel/tainted
}

run_end() {
    sync
}

for name in $(cat "/steps/$boot"); do
    step "$name"
done
poweroff -f
