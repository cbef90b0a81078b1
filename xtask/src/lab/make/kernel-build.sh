# Runs inside the lab's Fedora stand-in: /mnt/src is an unpacked kernel source tree, each argument a
# release suffix ("-200.fc43.x86_64"). Leaves kernel-*.rpm in /mnt/out. The second kernel is built in the
# tree of the first: only what mentions its name is compiled again.
set -eu
export KBUILD_BUILD_TIMESTAMP="@$SOURCE_DATE_EPOCH" KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab KBUILD_BUILD_VERSION=1
export LC_ALL=C
jobs=-j$(nproc)

cd /mnt/src
make -s tinyconfig
KCONFIG_CONFIG=.config scripts/kconfig/merge_config.sh -m .config /mnt/kernel.config >/dev/null
mkdir -p /mnt/out
for suffix in "$@"; do
    scripts/config --set-str LOCALVERSION "$suffix"
    make -s olddefconfig
    # A misspelt or renamed option would otherwise be dropped in silence.
    refused=$(grep '^CONFIG_.*=[ym]$' /mnt/kernel.config | grep -vxFf .config || true)
    [ -z "$refused" ] || { echo "the kernel's configuration did not take: $refused" >&2; exit 1; }
    make -s $jobs bzImage modules
    release=$(make -s kernelrelease)
    echo "kernel $release is compiled"

    root=/mnt/root
    rm -rf $root
    modules=$root/lib/modules/$release
    tree=$root/usr/src/kernels/$release
    make -s INSTALL_MOD_PATH=$root INSTALL_MOD_STRIP=1 DEPMOD=true modules_install
    rm -f "$modules/build" "$modules/source"
    # As in Fedora: compressed modules, and the files of depmod are made where the package is installed.
    find "$modules" -name '*.ko' -exec xz --check=crc32 --lzma2=dict=1MiB {} +
    rm -f "$modules"/modules.alias* "$modules"/modules.dep* "$modules"/modules.devname "$modules"/modules.softdep \
        "$modules"/modules.symbols* "$modules"/modules.weakdep "$modules"/modules.builtin.bin "$modules"/modules.builtin.alias.bin
    install -m 0755 "$(make -s image_name)" "$modules/vmlinuz"
    install -m 0644 System.map "$modules/System.map"
    install -m 0644 .config "$modules/config"
    xz --check=crc32 -c Module.symvers > "$modules/symvers.xz"
    ln -s "/usr/src/kernels/$release" "$modules/build"
    ln -s build "$modules/source"

    mkdir -p "$tree"
    # `run-command` is the kernel's own way to give its packaging scripts their environment.
    make -s run-command KBUILD_RUN_COMMAND="\$(srctree)/scripts/package/install-extmod-build $tree"
    cp Module.symvers .config System.map "$tree/"
    # kmodtool and OpenZFS's configure look for these two beside each other.
    ls "$tree/Makefile" "$tree/include/generated/utsrelease.h" >/dev/null

    rpmbuild --quiet -bb --define "_topdir /mnt/rpmbuild" --define "staged $root" --define "krelease $release" \
        --define "_rpmdir /mnt/out" --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" /mnt/kernel.spec
done
