# Makes the root file system under the image that stands in for Fedora's: DIRECTORY SUITE MIRROR PACKAGES
#
# Runs in a mount namespace of its own, so whatever is mounted below is gone when it ends, however it ends.
# In two stages, because debootstrap's own way to run inside some containers breaks /proc in the target.
set -eu
root=$1 suite=$2 mirror=$3 packages=$4
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

debootstrap --foreign --variant=minbase --include="$packages" "$suite" "$root" "$mirror"
mount -t proc proc "$root/proc"
# A half-made system is thrown away whole, so nothing needs to reach the disk in order.
mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/lab"
chroot "$root" /debootstrap/debootstrap --second-stage
# debootstrap has unmounted it already, or not, by its own lights.
umount "$root/proc" 2>/dev/null || true

# What differs from one making to the next, what names the mirror, and what nobody reads in a builder.
rm -rf "$root"/etc/dpkg/dpkg.cfg.d/lab "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/var/cache/ldconfig \
    "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root"/etc/*- "$root"/etc/apt/sources.list \
    "$root"/debootstrap "$root"/dev "$root"/run "$root"/tmp "$root"/etc/resolv.conf "$root"/etc/hostname \
    "$root"/etc/machine-id "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale \
    "$root"/usr/share/info "$root"/usr/share/lintian
mkdir "$root/dev" "$root/run"
mkdir -m 1777 "$root/tmp"
mkdir -p "$root/var/log"
# The day of the making, as the day of the last change of a password that nobody has.
sed -i 's/^\([^:]*:[^:]*\):[0-9]*:/\1:20000:/' "$root/etc/shadow"
