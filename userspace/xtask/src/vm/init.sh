#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# The first process of a test VM. It makes the machine ready, runs one program,
# tells the runner how that ended, and switches the machine off.
#
# ttyS0 is the kernel's console. ttyS1 is the program's output; lines on it that
# begin with $mark are for the runner, which takes them out.

export PATH=/bin HOME=/ TMPDIR=/tmp
out=/dev/ttyS1
mark=@pagemove-vm

tell() {
	echo "$mark $*" >$out
}

die() {
	echo "Bail out! $*" >$out
	tell status 70
	poweroff -f
}

# Settings of this run: load (stock modules with their parameters), module (file
# of pagemove, or nothing), params, address (of eth0, or nothing), tty (1: the program's output is a terminal).
. /etc/pagemove/job

/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
mount -t tmpfs tmp /tmp
mkdir -p /dev/shm /run
stty -F $out raw -echo
echo 60 >/proc/sys/kernel/hung_task_timeout_secs
# KCSAN begins here: how the kernel boots is not what is tested.
if test -e /sys/kernel/debug/kcsan; then
	echo on >/sys/kernel/debug/kcsan || die "KCSAN can not be switched on"
fi

stock=/lib/modules/$(uname -r)
while read -r name options; do
	test -n "$name" || continue
	insmod "$stock/$name.ko" $options || die "insmod $name failed: see dmesg"
done <<END
$load
END

ip link set lo up || die "there is no loopback"
if test -n "$address"; then
	ip address add "$address" dev eth0 && ip link set eth0 up || die "eth0 can not have $address: see dmesg"
fi

if test -n "$module"; then
	export PAGEMOVE_KO="$module" PAGEMOVE_PARAMS="$params"
	insmod "$module" $params || die "insmod $module $params failed: see dmesg"
fi

tell start
if test "$tty" = 1; then
	stty -F $out cols "$COLUMNS" rows "$LINES"
	setsid sh /etc/pagemove/run <$out >$out 2>&1
	status=$?
else
	{ sh /etc/pagemove/run </dev/null 2>&1; echo $? >/run/status; } | cat >$out
	status=$(cat /run/status)
fi

# Whatever the program did, the module has to let itself be unloaded. Pages that
# wait for VFIO may take a moment, on a busy host a long one.
if test "$unload" = 1 && grep -q '^pagemove ' /proc/modules; then
	tries=0
	until rmmod pagemove 2>/run/rmmod; do
		tries=$((tries + 1))
		if test $tries -ge 600; then
			tell unload "$(cat /run/rmmod)"
			break
		fi
		usleep 100000
	done
fi

# What a debug kernel has to say at the end. It finds memory that nobody points to any more
# when that is five seconds old, and did not change from one scan to the next.
leaks=/sys/kernel/debug/kmemleak
if test "$unload" = 1 && test -e $leaks; then
	sleep 5
	echo scan >$leaks
	echo scan >$leaks
	cat $leaks >/dev/ttyS0 || echo "kmemleak can not be read" >/dev/kmsg
fi
if grep -q 'debug_locks: *0' /proc/lockdep_stats 2>/dev/null; then
	echo 'BUG: lockdep has switched itself off' >/dev/kmsg
fi

tell status "$status"
poweroff -f
