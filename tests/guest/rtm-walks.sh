#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The tests of the module rtm-walks; it prints TAP and says how it ended.

if ! insmod /rtm-walks.ko; then
	echo "TAP version 13"
	echo "1..1"
	echo "not ok 1 - walks: the module rtm-walks loads"
	exit 1
fi
cat /sys/kernel/debug/rtm-walks | tee /tmp/walks
rmmod rtm-walks
grep -q '^# good$' /tmp/walks
