#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel's own selftests, on devices that are bound to pagemove's VFIO driver:
# kernel.sh vfio|dma|kvm. Their results are indented: they are part of the result that follows.

pci=/sys/bus/pci/devices
without="the kernel has no iommufd (CONFIG_IOMMUFD)"
n=0
failed=0

result() {
	n=$((n + 1))
	echo "ok $n - $1"
}

# Ends the program: it can not begin.
broken() {
	echo "Bail out! $*"
	exit 1
}

# The functions with an id, in the order of their addresses: VENDOR DEVICE.
functions() {
	for dir in $pci/*; do
		test "$(cat $dir/vendor) $(cat $dir/device)" = "0x$1 0x$2" && basename $dir
	done
}

bind() {
	echo pagemove_vfio >$pci/$1/driver_override
	echo $1 >/sys/bus/pci/drivers_probe
	test -e /sys/bus/pci/drivers/pagemove_vfio/$1 || broken "$1 was not bound to pagemove_vfio"
}

# Runs PROGRAM with ARGUMENTS; its results, and what it says beside them, are within our result.
run() {
	text=$1
	shift
	{
		"$@" 2>&1
		echo $? >/tmp/status
	} | tee /tmp/said | sed 's/^/  /'
	status=$(cat /tmp/status)
	case $status in
	0) result "$text" ;;
	# What a program can't do that has not begun, it says in its first line.
	4) result "$text # SKIP $(sed -n '/./{s/^[# ]*//;p;q}' /tmp/said)" ;;
	*)
		n=$((n + 1))
		failed=1
		echo "not ok $n - $text"
		echo "# exit status $status"
		;;
	esac
}

# Whether the kernel has iommufd. Debian's do not.
has_iommufd() {
	test -e /dev/iommu
}

# The options that leave out the variants that need it: PROGRAM ADDRESS.
without_iommufd() {
	has_iommufd && return
	# Its list is a table: fixture, variant, test.
	$1 -l $2 2>&1 | tr -s ' ' '\n' | grep ^iommufd | sort -u | sed 's/^/-V /'
}

vfio() {
	echo "1..6"
	set -- $(functions 1b36 0010)
	nvme=$1 other=$2
	edu=$(functions 1234 11e8)
	for device in $nvme $other $edu; do
		bind $device
	done
	# For mappings of huge pages. One of 1 GiB the machine has no room for.
	echo 2 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
	for program in vfio_dma_mapping_test vfio_dma_mapping_mmio_test; do
		run $program $program $(without_iommufd $program $nvme) $nvme
	done
	run "vfio_pci_device_init_perf_test, two devices" vfio_pci_device_init_perf_test \
		$(without_iommufd vfio_pci_device_init_perf_test $nvme) $nvme $other
	export VFIO_SELFTESTS_IOMMU_MODE=vfio_type1v2_iommu
	run "vfio_pci_device_test, NVMe" vfio_pci_device_test $nvme
	run "vfio_pci_device_test, edu" vfio_pci_device_test $edu
	if has_iommufd; then
		run vfio_iommufd_setup_test vfio_iommufd_setup_test $nvme
	else
		result "vfio_iommufd_setup_test, and variants of the others # SKIP $without"
	fi
}

# DMA by the selftests' own driver of an Intel 82576, which there is since Linux 7.3.
dma() {
	echo "1..1"
	card=$(functions 8086 10c9)
	bind $card
	# It maps a GiB. In small pages that takes an emulated machine as long as each test may take.
	echo always >/sys/kernel/mm/transparent_hugepage/shmem_enabled
	export VFIO_SELFTESTS_IOMMU_MODE=vfio_type1v2_iommu
	run vfio_pci_driver_test vfio_pci_driver_test $(without_iommufd vfio_pci_driver_test $card) $card
}

# A device's interrupts go to a guest of KVM.
kvm() {
	# Each series of kernels has programs of its own.
	if ! test -x /bin/irq_test; then
		echo "1..0 # SKIP this kernel's source has no selftest of KVM that takes a device (irq_test)"
		exit 4
	fi
	# Where the CPUs can't, there is no /dev/kvm then.
	for module in kvm ccp kvm_amd; do
		insmod /lib/modules/$(uname -r)/$module.ko
	done 2>/dev/null
	if ! test -e /dev/kvm; then
		echo "1..0 # SKIP the VM's CPUs can not run VMs"
		exit 4
	fi
	echo "1..1"
	card=$(functions 8086 10c9)
	bind $card
	# It looks for itself by this name.
	run irq_test /bin/irq_test -i 100 -d $card
}

echo "TAP version 13"
$1
exit $failed
