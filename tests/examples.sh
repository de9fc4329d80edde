#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints TAP: the examples against the header alone, as C and as C++, with every warning an error; those in Python and
# XML are well-formed, and the hook says what is wrong. Begins in userspace/, as tests of the host do.
set -u

cd .. || exit 1
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
count=0
failed=0

check() {
    count=$((count + 1))
    name=$1
    shift
    if "$@" >"$top/said" 2>&1; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        sed 's/^/# /' "$top/said"
        failed=1
    fi
}

skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# The header as it is installed, beside those of the kernel.
mkdir -p "$top/include/linux"
cp include/uapi/linux/pagemove.h "$top/include/linux/"
strict="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I$top/include"

for example in examples/*.c; do
    program=$(basename "$example" .c)
    # shellcheck disable=SC2086
    check "$program as C99" cc -std=c99 $strict -o "$top/$program" "$example"
    if command -v c++ >/dev/null; then
        # shellcheck disable=SC2086
        check "$program as C++17" c++ -std=c++17 $strict -x c++ -o "$top/$program++" "$example"
    else
        skip "$program as C++17" "there is no c++"
    fi
done

# The header says all that it needs itself.
printf '#include <linux/pagemove.h>\nint main(void) { return 0; }\n' >"$top/alone.c"
# shellcheck disable=SC2086
check "the header alone as C89" cc -std=gnu89 $strict -o "$top/alone" "$top/alone.c"

ends_with() {
    code=$1
    words=$2
    shift 2
    "$@" >"$top/out" 2>&1
    found=$?
    cat "$top/out"
    [ "$found" -eq "$code" ] && grep -q "$words" "$top/out"
}
check "move: wrong usage is 1" ends_with 1 usage "$top/move" 0:0:0 0 0
check "move: an address that begins no page is 1" ends_with 1 usage "$top/move" 0000:00:03.0 0x1001 0
if [ -e /dev/pagemove ]; then
    skip "move: without the module it is 2" "the module is loaded"
else
    check "move: without the module it is 2" ends_with 2 "No such file" "$top/move" 0000:00:03.0 0x1000 0
fi

# What libvirt and QEMU make of these is tested in a VM (tests hook, libvirt).
hook=examples/hook-qmp.py
says() {
    event=$1
    words=$2
    shift 2
    PAGEMOVE_EVENT=$event ends_with 1 "$words" "$hook" "$@"
}
if command -v python3 >/dev/null; then
    for example in examples/*.xml; do
        check "$(basename "$example") is XML" python3 -c 'import sys, xml.dom.minidom as dom; dom.parse(sys.argv[1])' "$example"
    done
    check "hook-qmp.py: wrong usage" says leave usage
    check "hook-qmp.py: an event that is none" says arrive "'arrive'" "$top/none"
    check "hook-qmp.py: no socket" says leave "hook-qmp: $top/none: " "$top/none"
    check "hook-qmp.py: nothing to do when all is done" env PAGEMOVE_EVENT=complete "$hook" "$top/none"
else
    skip "examples in Python and XML" "there is no python3"
fi

echo "1..$count"
exit $failed
