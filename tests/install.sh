#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints TAP: `make install` and `make uninstall` below a folder, the manuals and the completion as they are
# read there, and the packages for Debian. Begins in userspace/, as tests of the host do.
set -u

cd .. || exit 1
cargo build --quiet --locked --manifest-path userspace/Cargo.toml --package pagemove || exit 1
TOOL=${CARGO_TARGET_DIR:-userspace/target}/debug/pagemove
export TOOL
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
count=0
failed=0

# result STATUS NAME: what was said is in $top/said.
result() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        sed 's/^/# /' "$top/said"
        failed=1
    fi
}

# check NAME COMMAND…
check() {
    name=$1
    shift
    "$@" >"$top/said" 2>&1
    result $? "$name"
}

skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# A file that says what a module says of itself.
module() {
    printf 'name=pagemove\0vermagic=%s SMP preempt mod_unload \0' "$1" >"$2"
}

root=$top/root
module 7.2.0-test "$top/pagemove.ko"
for old in usr usr/bin etc; do mkdir -p "$root/$old"; done
echo theirs >"$root/usr/bin/theirs"
(cd "$root" && find . | sort) >"$top/before"

make_install() {
    make --no-print-directory "$1" DESTDIR="$root" PREFIX=/usr TOOL="$TOOL" KO="${2:-$top/pagemove.ko}"
}

is_there() {
    for path in "$@"; do
        [ -s "$root$path" ] || { echo "$path is not there" && return 1; }
    done
}

modules=/lib/modules
[ -L /lib ] && modules=/usr/lib/modules

check "make install" make_install install
check "what it says is there" is_there /usr/sbin/pagemove /usr/include/linux/pagemove.h \
    /usr/share/man/man8/pagemove.8 /usr/share/man/man8/pagemove-move.8 \
    /usr/share/bash-completion/completions/pagemove /usr/share/zsh/site-functions/_pagemove \
    /usr/share/fish/vendor_completions.d/pagemove.fish /usr/lib/udev/rules.d/60-pagemove.rules \
    /usr/lib/sysusers.d/pagemove.conf /usr/lib/tmpfiles.d/pagemove.conf \
    /usr/lib/systemd/system/pagemove-restore.service /usr/lib/systemd/system/pagemove-receive@.service \
    /usr/lib/modules-load.d/pagemove.conf "$modules/7.2.0-test/updates/pagemove.ko"

current() {
    "$root/usr/sbin/pagemove" manual "$top/again" >/dev/null &&
        diff -r "$top/again/man8" "$root/usr/share/man/man8" &&
        diff "$top/again/completion/pagemove.bash" "$root/usr/share/bash-completion/completions/pagemove"
}
check "manuals and completion are those of the program" current

completes() {
    bash -c '. "$1" && COMP_WORDS=(pagemove mov) COMP_CWORD=1 && _pagemove pagemove mov pagemove &&
        echo "${COMPREPLY[@]}" && [ "${COMPREPLY[*]}" = move ] &&
        COMP_WORDS=(pagemove move --dry) COMP_CWORD=2 && _pagemove pagemove --dry move &&
        [ "${COMPREPLY[*]}" = --dry-run ]' bash "$root/usr/share/bash-completion/completions/pagemove"
}
check "bash completes verbs and options" completes

if command -v groff >/dev/null; then
    formats() {
        for page in "$root"/usr/share/man/man8/*; do
            groff -man -ww -z -Tutf8 "$page" || return 1
        done 2>&1 | tee "$top/warnings"
        [ ! -s "$top/warnings" ]
    }
    check "groff has no complaint about a manual" formats
else
    skip "groff has no complaint about a manual" "groff is not installed"
fi

# The units name programs and options that are there.
if command -v systemd-analyze >/dev/null; then
    units() {
        mkdir "$top/units"
        for unit in "$root"/usr/lib/systemd/system/pagemove-*; do
            sed "s|^ExecStart=|&$root|" "$unit" >"$top/units/$(basename "$unit")"
        done
        mv "$top/units/pagemove-receive@.service" "$top/units/pagemove-receive@1.service"
        SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no --recursive-errors=no \
            "$top"/units/*.service 2>&1 | tee "$top/warnings"
        [ ! -s "$top/warnings" ]
    }
    check "systemd has no complaint about a unit" units
else
    skip "systemd has no complaint about a unit" "systemd is not installed"
fi
takes_its_options() {
    for unit in "$root"/usr/lib/systemd/system/pagemove-*; do
        verb=$(sed -n 's|^ExecStart=/usr/sbin/pagemove \([a-z]*\) .*|\1|p' "$unit")
        option=$(sed -n 's|^ExecStart=.* \(--[a-z]*\).*|\1|p' "$unit")
        "$root/usr/sbin/pagemove" "$verb" --help | grep -q -- "$option" || return 1
    done
}
check "the program has the verbs and options that the units give it" takes_its_options

# An upgrade: a page and a module of an older version go, the rest stays.
upgrade() {
    echo old >"$root/usr/share/man/man8/pagemove-old.8"
    echo /usr/share/man/man8/pagemove-old.8 >>"$root/usr/share/pagemove/installed"
    module 7.3.0-test "$top/newer.ko"
    make_install install "$top/newer.ko" &&
        [ ! -e "$root/usr/share/man/man8/pagemove-old.8" ] &&
        [ ! -e "$root$modules/7.2.0-test/updates/pagemove.ko" ] &&
        is_there "$modules/7.3.0-test/updates/newer.ko" /usr/sbin/pagemove
}
check "an upgrade takes away what the new version has not" upgrade

leaves_nothing() {
    make_install uninstall || return 1
    (cd "$root" && find . | sort) >"$top/after"
    diff "$top/before" "$top/after"
}
check "make uninstall leaves what was there before, and nothing else" leaves_nothing

refused() {
    ! make_install uninstall && ! make_install install "$top/missing.ko" &&
        ! TOOL=$top/missing packaging/install.sh install &&
        ! DESTDIR=$root/ PREFIX=usr KO=none packaging/install.sh install
}
check "what is not there is no reason to do half of it" refused
check "nothing was begun" diff "$top/before" "$top/after"

# What it takes to compress them is not what is tested.
export DPKG_DEB_COMPRESSOR_TYPE=none
if command -v dpkg-deb >/dev/null; then
    packages() {
        KO=$top/pagemove.ko packaging/deb.sh "$top/deb" &&
            dpkg-deb --contents "$top"/deb/pagemove_*.deb >"$top/contents" &&
            grep -q ' ./usr/sbin/pagemove$' "$top/contents" &&
            ! grep -q ' ./lib/\| ./usr/local\|installed$' "$top/contents" &&
            dpkg-deb --contents "$top"/deb/pagemove-module-7.2.0-test_*.deb |
            grep ' ./usr/lib/modules/7.2.0-test/updates/pagemove.ko$' &&
            dpkg-deb --field "$top"/deb/pagemove-module-7.2.0-test_*.deb Depends |
            grep linux-image-7.2.0-test
    }
    check "make deb: a package of the tool, and one of the module for its kernel" packages

    # A checkout of which `make` has fetched the crates.
    checkout=$top/checkout
    crates="bitflags static_assertions memoffset spin"
    mkdir "$checkout" && cp -r Kbuild LICENSE include packaging src "$checkout"
    for crate in $crates; do
        mkdir -p "$checkout/third_party/$crate/src" "$checkout/third_party/$crate/tests"
        touch "$checkout/third_party/$crate/src/lib.rs" "$checkout/third_party/$crate/LICENSE" \
            "$checkout/third_party/$crate/tests/not.rs"
    done
    touch "$checkout/third_party/vendored-from.toml" "$checkout/src/built.o" "$checkout/src/pagemove.mod.c"
    source=$top/dkms/usr/src/pagemove-1.2-3
    source_package() {
        KO=none VERSION=1.2-3 "$checkout/packaging/deb.sh" "$top/deb" &&
            dpkg-deb --extract "$top/deb/pagemove-dkms_1.2-3_all.deb" "$top/dkms" || return 1
        for file in Kbuild dkms.conf src/main.rs src/shim/vfio.c src/ntb/Kbuild include/uapi/linux/pagemove.h; do
            [ -s "$source/$file" ] || { echo "no $file" && return 1; }
        done
        for crate in $crates; do
            [ -e "$source/third_party/$crate/src/lib.rs" ] && [ -e "$source/third_party/$crate/LICENSE" ] || return 1
        done
        ! find "$source" -name '*.o' -o -name '*.mod.c' -o -name not.rs -o -name packaging | grep .
    }
    check "make deb: the module's source for dkms, with the crates, and nothing that was built" source_package

    # build_for RELEASE TREE: whether dkms would, as it reads the file.
    build_for() {
        bash -c 'kernelver=$1 kernel_source_dir=$2 dkms_tree=/d && . "$3" && echo "${MAKE[0]}" &&
            [ "$PACKAGE_VERSION" = 1.2-3 ] && [[ $kernelver =~ $BUILD_EXCLUSIVE_KERNEL ]]' \
            bash "$1" "$2" "$source/dkms.conf"
    }
    passes_over() {
        mkdir -p "$top/bare" "$top/whole/rust"
        touch "$top/bare/Makefile" "$top/whole/Makefile" "$top/whole/rust/libkernel.rmeta"
        for series in $(sed -n 's/^tested-series := //p' Kbuild); do
            build_for "$series.1-amd64" "$top/whole" || return 1
        done
        ! build_for 6.12.0-amd64 "$top/whole" && ! build_for "${series}1.0-amd64" "$top/whole" &&
            ! build_for "$series.1-amd64" "$top/bare" 2>"$top/why" &&
            [ "$(wc -l <"$top/why")" -eq 1 ] && grep "no Rust metadata" "$top/why"
    }
    check "dkms.conf: kernels of other series are passed over, and those without Rust metadata, with one sentence" passes_over
else
    for name in "make deb: a package of the tool, and one of the module for its kernel" \
        "make deb: the module's source for dkms, with the crates, and nothing that was built" \
        "dkms.conf: kernels of other series are passed over, and those without Rust metadata, with one sentence"; do
        skip "$name" "dpkg-deb is not installed"
    done
fi

echo "1..$count"
exit $failed
