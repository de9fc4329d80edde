#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The first process of the guest: it writes to both disks and reads back, and looks after
# its own memory, until the second disk says stop. NET: its address, in a network with a host that sends back what it
# gets; NESTED: a guest of its own runs beside.
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir /big
mount -t tmpfs -o size=200m big /big
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
# Behind an IOMMU of the guest the emulated NVMe refuses to write more than one block with protection information, whoever
# drives it.
if test -n "$NVME_KIB"; then
	echo "$NVME_KIB" >/sys/block/nvme0n1/queue/max_sectors_kb
fi
if test -n "$NET"; then
	ifconfig eth0 "$NET" netmask 255.255.255.0 up || echo "guest: missing its network"
fi
if test -n "$NESTED"; then
	test -c /dev/kvm || echo "guest: missing KVM"
	pagemove-selftest inner >/tmp/inner 2>&1 &
	inner=$!
fi
dd if=/dev/urandom of=/tmp/kept bs=64k count=256 2>/dev/null
kept=$(md5sum </tmp/kept)
round=0
word=
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
	if test -f /big/kept; then
		test "$big" = "$(md5sum </big/kept)" || echo "guest: LOST in more memory, round $round"
	fi
	if test -n "$NET"; then
		found=$(nc 192.0.2.1 7777 </tmp/data | md5sum)
		test "$sum" = "$found" || echo "guest: LOST in the network, round $round"
	fi
	if test -n "$NESTED"; then
		grep LOST /tmp/inner && echo "guest: LOST in its own guest"
		kill -0 $inner || echo "guest: LOST its own guest: $(tail -n 1 /tmp/inner)"
		echo "guest: inner $(grep -c . /tmp/inner)"
	fi
	echo "guest: round $round"
	last=$word
	word=$(dd if=/dev/vdb bs=16 count=1 2>/dev/null | tr -d '\0')
	test "$word" = "$last" && continue
	case $word in
	stop) break ;;
	grow*)
		dd if=/dev/urandom of=/big/kept bs=64k count=1024 2>/dev/null
		big=$(md5sum </big/kept)
		;;
	thin*) rm -f /big/kept ;;
	esac
	echo "guest: has done $word"
done
echo "guest: done"
poweroff -f
