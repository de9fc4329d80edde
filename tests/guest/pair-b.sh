#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The second of two hosts. The first, pair-a.sh, sees its RAM.
# With the argument `forget` it claims to have stored what it has not.

. /bin/window.sh

# Say a line to the other host, which may not be up yet, and hear one of it.
talk() {
	tries=0
	until echo "$2" | nc -w 5 10.77.0.1 $1 >/tmp/heard && test -s /tmp/heard; do
		tries=$((tries + 1))
		test $tries -lt 60 || { echo "nobody answers"; return 1; }
		sleep 1
	done
	grep -qx "$3" /tmp/heard || { echo "heard:"; cat /tmp/heard; return 1; }
}

echo "TAP version 13"
echo "1..4"
check "the first host is there" talk 7001 "b: hello" "a: store it"
test "$1" = forget || devmem $reserved 64 0x6572656877797265
check "it was told that the pattern is stored" talk 7002 "b: it is stored" "a: I look"
check "it has stored another one" talk 7003 "b: is it?" "a: look now"
check "that one is here" holds $reserved 0x0123456789ABCDEF
exit $failed
