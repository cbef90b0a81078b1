# Runs a command in a root: ROOT TOOLCHAIN COMMAND... Process 1 of mount and process namespaces of its own, so that
# no mount and no process outlives it.
set -eu
root=$1 toolchain=$2
shift 2
mount --bind "$root" "$root"
mkdir -p "$root/usr/local/rust" "$root/machine"
mount --bind "$toolchain" "$root/usr/local/rust"
mount -o remount,bind,ro "$root/usr/local/rust"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
cd "$root"
pivot_root . machine
umount -l /machine
rmdir /machine
update-ca-certificates >/dev/null 2>&1
cd /root/zfs-kmods
# Not `exec`: this shell reaps the processes whose parents ended.
status=0
"$@" || status=$?
exit "$status"
