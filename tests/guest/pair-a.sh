#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The first of two hosts: a BAR of its shows the RAM of the second, pair-b.sh.

. /bin/window.sh

# Hear a line of the other host and say one to it.
talk() {
	echo "$2" | timeout 60 nc -l -p $1 >/tmp/heard
	grep -qx "$3" /tmp/heard || { echo "heard:"; cat /tmp/heard; return 1; }
}

echo "TAP version 13"
echo "1..5"
bar=$(window)
there=$(printf '0x%x' $((bar + reserved)))
echo "# the BAR is at $bar"
check "the other host's memory does not hold the pattern yet" holds $there 0x0000000000000000
check "the other host says hello" talk 7001 "a: store it" "b: hello"
check "the other host says that it has stored the pattern" talk 7002 "a: I look" "b: it is stored"
check "the pattern is in the window" holds $there 0x6572656877797265
devmem $there 64 0x0123456789ABCDEF
check "the other host is told that this one has stored another" talk 7003 "a: look now" "b: is it?"
exit $failed
