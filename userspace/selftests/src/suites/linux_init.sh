#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The first process of the guest of linux.rs: it writes to both disks and reads back, and looks after
# its own memory, until the second disk says stop.
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for round in 1 2 3 4 5; do
	for ko in /ko/*.ko; do
		insmod "$ko" 2>/dev/null
	done
done
tries=0
until test -b /dev/nvme0n1 && test -b /dev/vda && test -b /dev/vdb; do
	tries=$((tries + 1))
	if test $tries -gt 100; then
		echo "guest: missing a disk: $(ls /dev | grep -E 'nvme|vd' | tr '\n' ' ')"
		break
	fi
	usleep 100000
done
dd if=/dev/urandom of=/tmp/kept bs=64k count=256 2>/dev/null
kept=$(md5sum </tmp/kept)
round=0
while :; do
	round=$((round + 1))
	at=$((round % 8 * 8))
	dd if=/dev/urandom of=/tmp/data bs=64k count=8 2>/dev/null
	sum=$(md5sum </tmp/data)
	for disk in /dev/vda /dev/nvme0n1; do
		dd if=/tmp/data of=$disk bs=64k seek=$at conv=fsync 2>/dev/null || echo "guest: LOST, $disk can not be written"
	done
	echo 3 >/proc/sys/vm/drop_caches
	for disk in /dev/vda /dev/nvme0n1; do
		found=$(dd if=$disk bs=64k skip=$at count=8 2>/dev/null | md5sum)
		test "$sum" = "$found" || echo "guest: LOST in round $round on $disk"
	done
	test "$kept" = "$(md5sum </tmp/kept)" || echo "guest: LOST in memory, round $round"
	echo "guest: round $round"
	test "$(dd if=/dev/vdb bs=4 count=1 2>/dev/null)" = stop && break
done
echo "guest: done"
poweroff -f
