// SPDX-License-Identifier: GPL-2.0
/*
 * What moving a page costs a driver that has the kernel's IOMMU functions alone: iommu_unmap(), a copy,
 * iommu_map(), a page at a time. Whatever the device does in between fails.
 *
 * <debugfs>/pagemove-bench-iommu takes "DEVICE IOVA PAGES" (0000:00:04.0 1000000 64), exchanges these
 * pages for new ones of node 1, and keeps the old ones; ...-ns is how long that took. An order of 0 pages
 * maps the old ones again. Nobody else may map or unmap them meanwhile, and the mapping has to be one of
 * single pages.
 */
#include <linux/debugfs.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define NODE 1
#define MOST 65536
#define PROT (IOMMU_READ | IOMMU_WRITE | IOMMU_CACHE)

struct kept {
	phys_addr_t old;
	struct page *new;
};

static DEFINE_MUTEX(lock);
static struct kept *kept;
static struct pci_dev *device;
static unsigned long first;
static unsigned int count;
static u64 ns;

/* Word by word, as pagemove does: the kernel's own copy is one instruction that an emulator does
 * slowly. */
static void copy(u64 *to, const u64 *from)
{
	for (unsigned int n = 0; n < PAGE_SIZE / sizeof(*to); n++)
		WRITE_ONCE(to[n], READ_ONCE(from[n]));
}

static int replace(struct iommu_domain *domain, unsigned long iova,
		   phys_addr_t page)
{
	if (iommu_unmap(domain, iova, PAGE_SIZE) != PAGE_SIZE)
		return -EIO;
	return iommu_map(domain, iova, page, PAGE_SIZE, PROT, GFP_KERNEL);
}

static int exchange_page(struct iommu_domain *domain, unsigned int n)
{
	unsigned long iova = first + n * PAGE_SIZE;
	struct page *page = kept[n].new;

	kept[n].old = iommu_iova_to_phys(domain, iova);
	if (!kept[n].old)
		return -ENXIO;
	if (iommu_unmap(domain, iova, PAGE_SIZE) != PAGE_SIZE)
		return -EIO;
	copy(page_address(page), phys_to_virt(kept[n].old));
	return iommu_map(domain, iova, page_to_phys(page), PAGE_SIZE, PROT,
			 GFP_KERNEL);
}

static void forget(void)
{
	for (unsigned int n = 0; n < count; n++)
		if (kept[n].new)
			__free_page(kept[n].new);
	kvfree(kept);
	kept = NULL;
	count = 0;
	pci_dev_put(device);
	device = NULL;
}

static int exchange(void)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&device->dev);
	u64 began;
	int error = 0;

	if (!domain)
		return -ENODEV;
	began = ktime_get_ns();
	for (unsigned int n = 0; n < count && !error; n++)
		error = exchange_page(domain, n);
	ns = ktime_get_ns() - began;
	return error;
}

static int allocate(void)
{
	kept = kvcalloc(count, sizeof(*kept), GFP_KERNEL);
	if (!kept) {
		count = 0;
		return -ENOMEM;
	}
	for (unsigned int n = 0; n < count; n++) {
		kept[n].new = alloc_pages_node(NODE, GFP_KERNEL, 0);
		if (!kept[n].new)
			return -ENOMEM;
	}
	return 0;
}

static int begin(unsigned int segment, unsigned int bus, unsigned int devfn,
		 unsigned long iova, unsigned int pages)
{
	int error;

	if (count)
		return -EBUSY;
	if (pages > MOST || iova % PAGE_SIZE)
		return -EINVAL;
	device = pci_get_domain_bus_and_slot(segment, bus, devfn);
	if (!device)
		return -ENODEV;
	first = iova;
	count = pages;
	error = allocate();
	if (!error)
		error = exchange();
	return error;
}

static int end(void)
{
	struct iommu_domain *domain;
	int error = 0;

	if (!count)
		return 0;
	domain = iommu_get_domain_for_dev(&device->dev);
	for (unsigned int n = 0; n < count && domain && !error; n++)
		if (kept[n].old)
			error = replace(domain, first + n * PAGE_SIZE,
					kept[n].old);
	/* What could not be given back stays mapped, and is not freed. */
	if (error)
		kept = NULL, count = 0;
	else
		forget();
	return error;
}

static ssize_t order(struct file *file, const char __user *from, size_t length,
		     loff_t *offset)
{
	unsigned int segment, bus, slot, function, pages;
	unsigned long iova;
	char text[64] = { 0 };
	int error;

	if (length >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, length))
		return -EFAULT;
	if (sscanf(text, "%x:%x:%x.%x %lx %u", &segment, &bus, &slot, &function,
		   &iova, &pages) != 6)
		return -EINVAL;
	mutex_lock(&lock);
	error = pages ? begin(segment, bus, PCI_DEVFN(slot, function), iova,
			      pages) :
			end();
	mutex_unlock(&lock);
	return error ? error : length;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.write = order,
};

static int __init bench_init(void)
{
	debugfs_create_file("pagemove-bench-iommu", 0200, NULL, NULL,
			    &operations);
	debugfs_create_u64("pagemove-bench-iommu-ns", 0400, NULL, &ns);
	return 0;
}

static void __exit bench_exit(void)
{
	debugfs_lookup_and_remove("pagemove-bench-iommu", NULL);
	debugfs_lookup_and_remove("pagemove-bench-iommu-ns", NULL);
	mutex_lock(&lock);
	end();
	mutex_unlock(&lock);
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_DESCRIPTION("iommu_unmap() and iommu_map(), for a comparison");
MODULE_LICENSE("GPL");
