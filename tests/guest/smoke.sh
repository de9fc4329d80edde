#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The module was loaded by the init: is it whole, and can it go and come back?

echo "TAP version 13"
echo "1..6"
n=0

check() {
	text=$1
	shift
	n=$((n + 1))
	if "$@" >/tmp/why 2>&1; then
		echo "ok $n - $text"
	else
		echo "not ok $n - $text"
		sed 's/^/# /' /tmp/why
		failed=1
	fi
}

device() {
	ls -l /dev/pagemove
	test -c /dev/pagemove && test "$(stat -c %a /dev/pagemove)" = 600
}

gone() {
	! test -e /dev/pagemove && ! grep -q '^pagemove ' /proc/modules
}

failed=0
check "the device is there, for root alone" device
check "its VFIO driver is registered" test -d /sys/bus/pci/drivers/pagemove_vfio
check "it can be unloaded" rmmod pagemove
check "nothing of it is left" gone
check "it can be loaded again" insmod "$PAGEMOVE_KO" $PAGEMOVE_PARAMS
check "the device is there again" device
exit $failed
