#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints TAP: pagemove-dkms on a machine of Debian's with dkms, a kernel tree that has Rust metadata, and a
# package of headers that has none. Runs in the build root, without a network, and nothing of it stays
# (userspace/xtask/src/check/kinds/dkms.rs).
#
#   dkms.sh RELEASE TREE HEADERS PACKAGE
set -u

release=$1 tree=$2 headers=$3 package=$4
bare=${release%%-*}-headers
said=/tmp/said
count=0
failed=0
echo 1..6

# check NAME COMMAND…
check() {
    name=$1
    shift
    count=$((count + 1))
    if "$@" >$said 2>&1; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        sed 's/^/# /' $said
        failed=1
    fi
}

# A kernel that is installed: its name, what is compiled against, and what depmod wants of it.
kernel() {
    mkdir -p "/usr/lib/modules/$1"
    ln -s "$2" "/usr/lib/modules/$1/build"
    touch "/usr/lib/modules/$1/modules.order" "/usr/lib/modules/$1/modules.builtin"
    # Without its lists dkms takes it for one that is going.
    depmod "$1" 2>/dev/null
}
kernel "$release" "$tree"
kernel "$bare" "$headers"
version=$(dpkg-deb --field "$package" Version)
module=/usr/lib/modules/$release/updates/dkms/pagemove.ko

installs() {
    dpkg -i "$package" >/tmp/installed 2>&1
    status=$?
    cat /tmp/installed
    return $status
}
check "the package is installed, though one of two kernels has no Rust metadata" installs

is_built() {
    dkms status | tee /tmp/status
    grep -q "^pagemove/$version, $release, x86_64: installed" /tmp/status && [ "$(wc -l </tmp/status)" -eq 1 ]
}
check "dkms has built and installed the module for the one that has" is_built

is_right() {
    modinfo "$module"
    [ "$(modinfo --field vermagic "$module" | cut -d' ' -f1)" = "$release" ] &&
        [ "$(modinfo --field version "$module")" = "$version" ] &&
        modprobe --set-version "$release" --show-depends pagemove_vfio | grep updates/dkms/pagemove.ko
}
check "it is for this kernel, and of this version" is_right

# One sentence, and no failure: the installation of that kernel must not fail for it.
is_refused() {
    cat /tmp/installed
    [ "$(grep -c 'have no Rust metadata' /tmp/installed)" -eq 1 ] &&
        dkms autoinstall --kernelver "$bare" && ! dkms status | grep "$bare"
}
check "the other one is passed over, with one sentence that says why" is_refused

other_series() {
    mkdir -p /usr/lib/modules/6.12.0-other
    ln -s "$tree" /usr/lib/modules/6.12.0-other/build
    dkms build pagemove/"$version" -k 6.12.0-other
    [ $? -eq 77 ]
}
check "a series that it is not for is passed over" other_series

leaves_nothing() {
    dpkg --purge pagemove-dkms
    find /usr/lib/modules /usr/src /var/lib/dkms /usr/share /etc -name '*pagemove*' | tee /tmp/left
    [ ! -s /tmp/left ]
}
check "removed, it leaves no source and no module" leaves_nothing
exit $failed
