# Makes a Debian root: ROOT SUITE MIRROR PACKAGES. Runs in mount and process namespaces of its own.
# In two stages, because the one-stage debootstrap breaks /proc of the target in some containers.
set -eu
root=$1 suite=$2 mirror=$3 packages=$4
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
debootstrap --foreign --variant=minbase --include="$packages" "$suite" "$root" "$mirror"
mount -t proc proc "$root/proc"
mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/bare"
chroot "$root" /debootstrap/debootstrap --second-stage
rm -rf "$root/debootstrap" "$root/etc/apt/sources.list"
