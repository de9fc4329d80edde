# SPDX-License-Identifier: GPL-2.0
# For scripts that look through a window: TAP, and where the memory is.

# The MiB that the kernel of a machine with shared RAM leaves alone (memmap= in its profile).
reserved=0x10000000
n=0
failed=0

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

# Physical address of the BAR that shows RAM, of the only ivshmem there is.
window() {
	for dir in /sys/bus/pci/devices/*; do
		if test "$(cat $dir/vendor $dir/device | tr '\n' ' ')" = "0x1af4 0x1110 "; then
			echo 1 >$dir/enable
			sed -n '3s/ .*//p' $dir/resource
			return
		fi
	done
	echo "no ivshmem here" >&2
	return 1
}

# Whether the 64 bits at ADDRESS are VALUE.
holds() {
	found=$(devmem $1 64)
	test "$found" = "$2" || { echo "$1 holds $found, not $2"; return 1; }
}
