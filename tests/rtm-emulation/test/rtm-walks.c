// SPDX-License-Identifier: GPL-2.0
/*
 * Do an IOMMU's walks abort a transaction that has the entry in its write set? Reading
 * <debugfs>/rtm-walks does the tests with QEMU's device `edu` and gives TAP.
 *
 * A transfer of edu begins 100 ms after it was asked for. A transaction stores to an
 * entry before that, with the value that it has, and looks at the clock until long
 * after it.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <asm/cpufeature.h>
#include <asm/tsc.h>

#define VENDOR 0x1234
#define DEVICE 0x11e8

/* Registers of edu. */
#define DMA_SOURCE 0x80
#define DMA_TARGET 0x88
#define DMA_COUNT 0x90
#define DMA_COMMAND 0x98
#define DMA_START 1
#define DMA_TO_MEMORY 2
/* Its own memory, as its transfers see it. */
#define DMA_BUFFER 0x40000
#define DMA_BYTES 64

/* How long the transaction goes on. */
#define WAIT_MS 250

/* Bits of entries of VT-d's first stage. */
#define ACCESSED BIT_ULL(5)
#define DIRTY BIT_ULL(6)

#define COMMITTED 0xffffffff
#define CONFLICT 4

/* So many that two of them have their entries in different cache lines. They are mapped
 * one by one: of a larger piece an entry may map more than a page. */
#define PAGES 16

#define TRIES 20

static struct pci_dev *device;
static void __iomem *registers;
static struct page *pages[PAGES];
static dma_addr_t iovas[PAGES];
static struct iommu_domain *domain;
static struct dentry *file;

/* The entry that maps page n, or NULL. Every format that edu can get
 * has 512 entries a table, with the physical address in bits 51:12. */
static u64 *entry(unsigned int n)
{
	struct pt_common *common =
		&container_of(domain, struct pt_iommu_x86_64, iommu.domain)
			 ->x86_64_pt.common;
	uintptr_t top = READ_ONCE(common->top_of_table);
	u64 *table = (u64 *)(top & ~(uintptr_t)PT_TOP_LEVEL_MASK);
	u64 address = iovas[n];

	for (int level = top & PT_TOP_LEVEL_MASK; level > 0; level--) {
		u64 value = READ_ONCE(table[address >> (12 + 9 * level) & 511]);

		if (!(value & 3))
			return NULL;
		table = phys_to_virt(value & GENMASK_ULL(51, 12));
	}
	table += address >> 12 & 511;
	return (*table & GENMASK_ULL(51, 12)) == page_to_phys(pages[n]) ?
		       table :
		       NULL;
}

/* The transaction. Returns its status. */
static noinline u32 store_and_wait(u64 *to, u64 value, u64 until)
{
	u32 status;

	asm volatile("movl $-1, %%eax\n\t"
		     "xbegin 1f\n"
		     "1:\tcmpl $-1, %%eax\n\t"
		     "jne 3f\n\t"
		     "movq %[value], (%[to])\n\t"
		     "mfence\n"
		     "2:\trdtsc\n\t"
		     "shlq $32, %%rdx\n\t"
		     "orq %%rdx, %%rax\n\t"
		     "cmpq %[until], %%rax\n\t"
		     "jb 2b\n\t"
		     "xend\n\t"
		     "movl $-1, %%eax\n"
		     "3:\n"
		     : "=&a"(status)
		     : [to] "r"(to), [value] "r"(value), [until] "r"(until)
		     : "rdx", "memory", "cc");
	return status;
}

static void transfer(unsigned int n, bool to_memory)
{
	u32 address = iovas[n];

	writeq(to_memory ? DMA_BUFFER : address, registers + DMA_SOURCE);
	writeq(to_memory ? address : DMA_BUFFER, registers + DMA_TARGET);
	writeq(DMA_BYTES, registers + DMA_COUNT);
	writeq(DMA_START | (to_memory ? DMA_TO_MEMORY : 0),
	       registers + DMA_COMMAND);
}

static void idle(void)
{
	while (readq(registers + DMA_COMMAND) & DMA_START)
		msleep(10);
}

enum access { NO_ACCESS, DEVICE_READ, DEVICE_WRITE };

/*
 * A transaction on the entry of page 0 while edu accesses page `n`. Before it the
 * entry gets the bits `ad` for A and D, where the format has them, and nothing is
 * cached by the IOMMU.
 */
static u32 attempt(enum access access, unsigned int n, bool has_ad, u64 ad)
{
	u64 *at = entry(0), until;
	u32 status;

	if (has_ad)
		WRITE_ONCE(*at, (*at & ~(ACCESSED | DIRTY)) | ad);
	domain->ops->flush_iotlb_all(domain);
	if (access != NO_ACCESS)
		transfer(n, access == DEVICE_WRITE);
	until = rdtsc() + (u64)tsc_khz * WAIT_MS;
	local_irq_disable();
	status = store_and_wait(at, READ_ONCE(*at), until);
	local_irq_enable();
	idle();
	return status;
}

/* A page whose entry is in the table of that of page 0, but in another line; or 0. */
static unsigned int neighbour(void)
{
	uintptr_t first = (uintptr_t)entry(0);

	for (unsigned int n = 1; n < PAGES; n++) {
		uintptr_t at = (uintptr_t)entry(n);

		if (at >> 12 == first >> 12 && at >> 6 != first >> 6)
			return n;
	}
	return 0;
}

static unsigned int number;
static bool good;

/* One test: whether attempts end with a commit, or with a conflict. */
static void test(struct seq_file *out, const char *text, bool commits,
		 enum access access, unsigned int n, bool has_ad, u64 ad)
{
	u32 status = 0;

	/* Anything can abort a transaction: the first end that says something counts. */
	for (int try = 0;
	     try < TRIES && status != COMMITTED && !(status & CONFLICT); try++)
		status = attempt(access, n, has_ad, ad);
	if ((status == COMMITTED) == commits && status) {
		seq_printf(out, "ok %u - walks: %s\n", ++number, text);
		return;
	}
	good = false;
	seq_printf(out, "not ok %u - walks: %s\n# status %#x\n", ++number, text,
		   status);
}

static int walks_show(struct seq_file *out, void *unused)
{
	bool has_ad = domain->ops->iova_to_phys == pt_iommu_x86_64_iova_to_phys;

	number = 0;
	good = true;
	seq_printf(out, "TAP version 13\n1..%d\n", has_ad ? 6 : 4);
	test(out, "nobody accesses the page: it commits", true, NO_ACCESS, 0,
	     has_ad, 0);
	test(out, "a page with its entry in another line: it commits", true,
	     DEVICE_WRITE, neighbour(), has_ad, ACCESSED | DIRTY);
	test(out, "a read by the device, A and D are set already: conflict",
	     false, DEVICE_READ, 0, has_ad, ACCESSED | DIRTY);
	test(out, "a write by the device, A and D are set already: conflict",
	     false, DEVICE_WRITE, 0, has_ad, ACCESSED | DIRTY);
	if (has_ad) {
		test(out, "a read by the device, A and D are clear: conflict",
		     false, DEVICE_READ, 0, true, 0);
		test(out, "a write by the device, A and D are clear: conflict",
		     false, DEVICE_WRITE, 0, true, 0);
	}
	seq_printf(out, "# %s\n", good ? "good" : "bad");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(walks);

static void unmap_pages(void)
{
	for (unsigned int n = 0; n < PAGES && pages[n]; n++) {
		if (iovas[n])
			dma_unmap_page(&device->dev, iovas[n], PAGE_SIZE,
				       DMA_BIDIRECTIONAL);
		__free_page(pages[n]);
	}
}

static int map_pages(void)
{
	for (unsigned int n = 0; n < PAGES; n++) {
		pages[n] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!pages[n])
			return -ENOMEM;
		iovas[n] = dma_map_page(&device->dev, pages[n], 0, PAGE_SIZE,
					DMA_BIDIRECTIONAL);
		if (dma_mapping_error(&device->dev, iovas[n])) {
			iovas[n] = 0;
			return -ENOMEM;
		}
		if (!entry(n)) {
			dev_err(&device->dev, "no entry for page %u at %pad\n",
				n, &iovas[n]);
			return -ENXIO;
		}
	}
	return neighbour() ? 0 : -ENXIO;
}

static int __init setup(void)
{
	int error = -EOPNOTSUPP;

	if (!boot_cpu_has(X86_FEATURE_RTM))
		return error;
	device = pci_get_device(VENDOR, DEVICE, NULL);
	if (!device)
		return -ENODEV;
	domain = iommu_get_domain_for_dev(&device->dev);
	if (!domain || !domain->is_iommupt)
		goto put;
	error = pci_enable_device(device);
	if (error)
		goto put;
	pci_set_master(device);
	error = -ENXIO;
	registers = pci_iomap(device, 0, 0);
	if (!registers)
		goto disable;
	error = dma_set_mask_and_coherent(&device->dev, DMA_BIT_MASK(28));
	if (!error)
		error = map_pages();
	if (error)
		goto unmap;
	file = debugfs_create_file("rtm-walks", 0400, NULL, NULL, &walks_fops);
	return 0;
unmap:
	unmap_pages();
	pci_iounmap(device, registers);
disable:
	pci_disable_device(device);
put:
	pci_dev_put(device);
	return error;
}

static void __exit teardown(void)
{
	debugfs_remove(file);
	unmap_pages();
	pci_iounmap(device, registers);
	pci_clear_master(device);
	pci_disable_device(device);
	pci_dev_put(device);
}

module_init(setup);
module_exit(teardown);
MODULE_DESCRIPTION(
	"Tests of emulated hardware transactions against walks of an IOMMU");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("GENERIC_PT_IOMMU");
