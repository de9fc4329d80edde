#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Copies what was built to where programs, manuals, rules and modules are, or takes all of it away
# again. It builds nothing, so that it can run as root where the compiler is not root's.
#
#   install.sh install|uninstall
#
# From the environment:
#   DESTDIR  put everything below this folder, and change nothing else of this machine
#   PREFIX   /usr/local by itself; the module is below /lib/modules whatever this is
#   TOOL     the program
#   KO       modules, with spaces between them, or "none"
#
# What was installed is noted below PREFIX, and uninstall removes what is noted: files, and folders
# that were not there before.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
destdir=${DESTDIR-}
prefix=${PREFIX:-/usr/local}
note=$prefix/share/pagemove/installed

fail() {
    echo "$*" >&2
    exit 1
}

# Makes a folder, and notes those on its way that were not there.
folder() {
    missing=
    at=$1
    while [ -n "$at" ] && [ ! -d "$destdir$at" ]; do
        missing="$at/
$missing"
        at=${at%/*}
    done
    [ -z "$missing" ] || mkdir -p "$destdir$1"
    printf %s "$missing" >>"$new"
}

# put MODE FILE WHERE
put() {
    folder "${3%/*}"
    install -m "$1" "$2" "$destdir$3"
    echo "$3" >>"$new"
}

# The kernel that a module is for.
release_of() {
    tr '\0' '\n' <"$1" | sed -n 's/^vermagic=\([^ ]*\) .*/\1/p'
}

# Where modules are: on a system whose /lib is a link, packages may not put files through it.
modules() {
    if [ -L /lib ]; then echo /usr/lib/modules; else echo /lib/modules; fi
}

put_modules() {
    for ko in $KO; do
        release=$(release_of "$ko")
        [ -n "$release" ] || fail "$ko is no kernel module"
        put 644 "$ko" "$(modules)/$release/updates/$(basename "$ko")"
        depmod_for "$release"
    done
    put 644 "$here/modules-load.conf" "$prefix/lib/modules-load.d/pagemove.conf"
}

# Lets modprobe find what came or went. A package does that where it is unpacked.
depmod_for() {
    [ -z "$destdir" ] || return 0
    if [ ! -e "$(modules)/$1/modules.builtin" ]; then
        echo "kernel $1 is not installed here: the module is for another machine" >&2
    elif command -v depmod >/dev/null; then
        depmod "$1"
    else
        echo "depmod is missing: install kmod, and run depmod $1" >&2
    fi
}

put_all() {
    put 755 "$TOOL" "$prefix/sbin/pagemove"
    put 644 "$here/../include/uapi/linux/pagemove.h" "$prefix/include/linux/pagemove.h"
    "$TOOL" manual "$made" >/dev/null
    folder "$prefix/share/man/man8"
    install -m 644 "$made"/man8/* "$destdir$prefix/share/man/man8"
    for page in "$made"/man8/*; do
        echo "$prefix/share/man/man8/${page##*/}" >>"$new"
    done
    put 644 "$made/completion/pagemove.bash" "$prefix/share/bash-completion/completions/pagemove"
    put 644 "$made/completion/_pagemove" "$prefix/share/zsh/site-functions/_pagemove"
    put 644 "$made/completion/pagemove.fish" "$prefix/share/fish/vendor_completions.d/pagemove.fish"
    put 644 "$here/udev.rules" "$prefix/lib/udev/rules.d/60-pagemove.rules"
    put 644 "$here/sysusers.conf" "$prefix/lib/sysusers.d/pagemove.conf"
    put 644 "$here/tmpfiles.conf" "$prefix/lib/tmpfiles.d/pagemove.conf"
    for unit in pagemove-restore.service pagemove-receive@.service; do
        sed "s|@PREFIX@|$prefix|" "$here/$unit" >"$made/$unit"
        put 644 "$made/$unit" "$prefix/lib/systemd/system/$unit"
    done
    [ "$KO" = none ] || put_modules
}

# Lets the running system know: the group, the folder of notes, the rights to the device.
take_effect() {
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers "$prefix/lib/sysusers.d/pagemove.conf"
    elif command -v groupadd >/dev/null; then
        groupadd --force --system pagemove
    else
        echo "make a group pagemove for VMMs that are not root" >&2
    fi
    if command -v systemd-tmpfiles >/dev/null; then
        systemd-tmpfiles --create "$prefix/lib/tmpfiles.d/pagemove.conf"
    fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload || true
    fi
    if command -v udevadm >/dev/null && udevadm control --reload 2>/dev/null; then
        udevadm trigger --name-match=/dev/pagemove 2>/dev/null || true
    fi
}

install_all() {
    [ -x "${TOOL:?}" ] || fail "there is no $TOOL: \`make tool\` builds it"
    for ko in $KO; do
        [ "$ko" = none ] || [ -f "$ko" ] ||
            fail "there is no $ko: \`make KDIR=/lib/modules/RELEASE/build\` builds it for that kernel, and KO=none installs the rest"
    done
    old=$destdir$note
    made=$(mktemp -d)
    new=$made/installed
    trap 'rm -rf "$made"' EXIT
    # What was there before the first time stays known over an upgrade.
    if [ -e "$old" ]; then grep '/$' "$old" >"$new" || true; else : >"$new"; fi
    put_all
    folder "$(dirname "$note")"
    echo "$note" >>"$new"
    # What an older one had and this one has not.
    if [ -e "$old" ]; then
        grep -v '/$' "$old" | grep -vxFf "$new" | while read -r path; do rm -f "$destdir$path"; done
    fi
    install -m 644 "$new" "$old"
    [ -n "$destdir" ] || take_effect
    echo "installed; $destdir$note lists what"
}

# Prints the paths that are read, below DESTDIR, for xargs.
below() {
    while read -r path; do printf '%s\0' "$destdir${path%/}"; done
}

uninstall_all() {
    [ -e "$destdir$note" ] || fail "there is no $destdir$note: nothing was installed with this PREFIX and DESTDIR"
    list=$(cat "$destdir$note")
    releases=$(echo "$list" | sed -n 's|.*/modules/\([^/]*\)/updates/.*\.ko$|\1|p' | sort -u)
    echo "$list" | grep -v '/$' | below | xargs -0 rm -f
    # From the last to the first, so that a folder comes behind those in it; what is not empty stays.
    echo "$list" | grep '/$' | sed '1!G;h;$!d' | below | xargs -0 -r rmdir 2>/dev/null || true
    for release in $releases; do
        depmod_for "$release"
    done
    echo "removed; a module that is loaded stays until it is unloaded, and the group pagemove stays"
}

case $prefix in
/*) ;;
*) fail "PREFIX=$prefix does not begin with /" ;;
esac
case ${1-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) fail "usage: install.sh install|uninstall" ;;
esac
