#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Programs that a runner has to judge as failures, and one that is fine.

case $1 in
good)
	echo "1..1"
	echo "ok 1 - all is well"
	;;
bad)
	echo "1..1"
	echo "not ok 1 - nothing is well"
	exit 1
	;;
warning)
	echo "1..1"
	echo "<4>WARNING: CPU: 0 PID: 1 at runner.sh:1 not a real one" >/dev/kmsg
	echo "ok 1 - all is well"
	;;
panic)
	echo "1..1"
	echo "ok 1 - all is well"
	echo c >/proc/sysrq-trigger
	;;
hang)
	echo "1..1"
	echo "ok 1 - all is well"
	sleep 1000000
	;;
plan)
	echo "1..3"
	echo "ok 1 - all is well"
	;;
esac
exit 0
