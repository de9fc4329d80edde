#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Makes packages for Debian of what was built: `pagemove`, and `pagemove-module-RELEASE` for the kernel
# that the module is for.
#
#   deb.sh FOLDER
#
# From the environment: TOOL, KO (or "none"), MAINTAINER.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?"usage: deb.sh FOLDER"}
maintainer=${MAINTAINER:-"pagemove <root@localhost>"}
command -v dpkg-deb >/dev/null || {
    echo "dpkg-deb is missing: packages for Debian are built on Debian" >&2
    exit 1
}
version=$("$TOOL" --version | sed 's/^pagemove //')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# control PACKAGE FIELD… : the fields that all packages have, and these. The description is read.
control() {
    mkdir -p "$work/$1/DEBIAN" "$work/$1/usr/share/doc/$1"
    cp "$here/copyright" "$work/$1/usr/share/doc/$1/copyright"
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: %s\n' \
            "$1" "$version" "$maintainer"
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
    dpkg-deb --root-owner-group --build "$work/$1" "$folder/${1}_${version}_amd64.deb" >/dev/null
    echo "$folder/${1}_${version}_amd64.deb"
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
    if command -v udevadm >/dev/null; then udevadm control --reload || true; fi
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

tool
[ "$KO" = none ] || module "$KO"
