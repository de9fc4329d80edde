#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Makes packages for Debian of what was built: `pagemove`, `pagemove-module-RELEASE` for the kernel that
# the module is for, and `pagemove-dkms`, the module's source.
#
#   deb.sh FOLDER
#
# From the environment: TOOL, KO (or "none"), MAINTAINER, VERSION (of the packages: the tool's by itself).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?"usage: deb.sh FOLDER"}
maintainer=${MAINTAINER:-"pagemove <root@localhost>"}
command -v dpkg-deb >/dev/null || {
    echo "dpkg-deb is missing: packages for Debian are built on Debian" >&2
    exit 1
}
version=${VERSION:-$("$TOOL" --version | sed 's/^pagemove //')}
arch=amd64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# control PACKAGE FIELD… : the fields that all packages have, and these. The description is read.
control() {
    mkdir -p "$work/$1/DEBIAN" "$work/$1/usr/share/doc/$1"
    cp "$here/copyright" "$work/$1/usr/share/doc/$1/copyright"
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: %s\n' \
            "$1" "$version" "$arch" "$maintainer"
        printf 'Section: admin\nPriority: optional\n'
        printf 'Installed-Size: %s\n' "$(du -sk "$work/$1" | cut -f1)"
        shift
        for field in "$@"; do echo "$field"; done
        cat
    } >"$work/control"
}

# script PACKAGE NAME: what dpkg runs, read.
script() {
    { echo '#!/bin/sh' && echo 'set -e' && cat; } >"$work/$1/DEBIAN/$2"
    chmod 755 "$work/$1/DEBIAN/$2"
}

# build PACKAGE
build() {
    mv "$work/control" "$work/$1/DEBIAN/control"
    (cd "$work/$1" && find usr -type f -print0 | xargs -0 md5sum >DEBIAN/md5sums)
    mkdir -p "$folder"
    dpkg-deb --root-owner-group --build "$work/$1" "$folder/${1}_${version}_$arch.deb" >/dev/null
    echo "$folder/${1}_${version}_$arch.deb"
}

tool() {
    DESTDIR=$work/pagemove PREFIX=/usr KO=none "$here/install.sh" install >/dev/null
    # dpkg has a list of its own.
    rm -r "$work/pagemove/usr/share/pagemove"
    control pagemove "Recommends: pagemove-module" <<EOF
Description: moves pinned memory of guests while their devices keep doing DMA
 The command line tool of the kernel module pagemove, its manual, header and
 rules. It needs the module of the running kernel: pagemove-module-RELEASE.
EOF
    script pagemove postinst <<'EOF'
if [ "$1" = configure ]; then
    if command -v systemd-sysusers >/dev/null; then systemd-sysusers pagemove.conf; fi
    if [ -d /run/systemd/system ]; then
        systemd-tmpfiles --create pagemove.conf || true
        systemctl daemon-reload || true
    fi
    if command -v udevadm >/dev/null && udevadm control --reload 2>/dev/null; then
        udevadm trigger --name-match=/dev/pagemove 2>/dev/null || true
    fi
fi
EOF
    build pagemove
}

module() {
    release=$(tr '\0' '\n' <"$1" | sed -n 's/^vermagic=\([^ ]*\) .*/\1/p')
    [ -n "$release" ] || {
        echo "$1 is no kernel module" >&2
        exit 1
    }
    package=pagemove-module-$release
    install -D -m 644 "$1" "$work/$package/usr/lib/modules/$release/updates/pagemove.ko"
    install -D -m 644 "$here/modules-load.conf" \
        "$work/$package/usr/lib/modules-load.d/pagemove-$release.conf"
    control "$package" "Depends: linux-image-$release" "Provides: pagemove-module" <<EOF
Description: kernel module pagemove for $release
 Moves pinned memory while devices keep doing DMA. For this kernel alone.
EOF
    script "$package" postinst <<EOF
if [ "\$1" = configure ]; then depmod $release; fi
EOF
    script "$package" postrm <<EOF
if [ "\$1" = remove ] && [ -e /usr/lib/modules/$release/modules.builtin ]; then depmod $release; fi
EOF
    build "$package"
}

# Prints what the module is built from: sources, and licenses of what is not ours. Kbuild names the crates.
sources() {
    crates=$(sed -n 's|^[a-z_]* := third_party/\([a-z_]*\)/src/lib.o$|\1|p' Kbuild)
    echo Kbuild
    echo LICENSE
    find src include \( -name Kbuild -o -name '*.rs' -o -name '*.[ch]' \) ! -name '*.mod.c'
    for crate in $crates; do
        find "third_party/$crate/src" -name '*.rs'
        find "third_party/$crate" -maxdepth 1 -iname 'LICENSE*'
    done
}

# The module's source with the crates that it is linked from: where it is built nothing is fetched.
dkms() {
    arch=all
    source=$work/pagemove-dkms/usr/src/pagemove-$version
    mkdir -p "$source"
    (cd "$here/.." && sources | tar -cf - -T -) | tar -C "$source" -xf -
    find "$source" -type f -exec chmod 644 {} +
    series=$(sed -n 's/^tested-series := //p' "$here/../Kbuild" | sed 's/\./\\\\./g; s/ /|/g')
    sed "s/@VERSION@/$version/; s/@SERIES@/$series/" "$here/dkms.conf" >"$source/dkms.conf"
    install -D -m 644 "$here/modules-load.conf" \
        "$work/pagemove-dkms/usr/lib/modules-load.d/pagemove-dkms.conf"
    # A kernel has one: the one that was built for it before, or the one that dkms builds.
    control pagemove-dkms "Depends: dkms, gcc, rustc" "Provides: pagemove-module" \
        "Conflicts: pagemove-module" <<EOF
Description: kernel module pagemove as source, for dkms
 Built for each kernel whose headers have Rust metadata; others are passed over.
 Moves pinned memory while devices keep doing DMA.
EOF
    script pagemove-dkms postinst <<EOF
if [ "\$1" = configure ]; then
    /usr/lib/dkms/common.postinst pagemove $version /usr/share/pagemove "" "\$2"
fi
EOF
    script pagemove-dkms prerm <<EOF
case "\$1" in
remove | upgrade | deconfigure)
    [ ! -d /var/lib/dkms/pagemove/$version ] || dkms remove -m pagemove -v $version --all ;;
esac
EOF
    build pagemove-dkms
}

tool
[ "$KO" = none ] || module "$KO"
if [ -e "$here/../third_party/vendored-from.toml" ]; then
    dkms
else
    echo "no pagemove-dkms: the crates are missing in third_party/, which \`make\` fills" >&2
fi
