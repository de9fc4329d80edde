// SPDX-License-Identifier: GPL-2.0
/*
 * A stand-in for an NTB, for tests: two ports that are joined by a small ivshmem, the
 * control page, and memory windows that are parts of the BAR of a large ivshmem, which
 * shows all of the peer's memory from physical address 0. In one VM both ports see the
 * VM's own memory there.
 *
 * A real bridge redirects accesses to a fixed window. Here the address of a window changes
 * with its translation, so a client has to ask for it again. See Documentation/ntb.md.
 */
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/ntb.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/workqueue.h>

#include "control.h"

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110
#define MEMORY_BAR 2
#define DOORBELLS 8

static bool severed;
module_param(severed, bool, 0644);
MODULE_PARM_DESC(severed, "1: the cable is cut");

/* Drivers of bridges find out late that a link is down. */
static unsigned int late_ms = 20;
module_param(late_ms, uint, 0644);
MODULE_PARM_DESC(late_ms, "until a cut cable is noticed");

static unsigned int window_kib = 4096;
module_param(window_kib, uint, 0444);
MODULE_PARM_DESC(window_kib, "size of a memory window");

struct port {
	struct ntb_dev ntb;
	struct pci_dev *mirror; /* shows the peer's memory */
	struct control *control;
	struct side *own, *peer;
	struct delayed_work poll;
	bool was_up;
	unsigned long notice; /* when the port knows, in jiffies */
	u64 masked;
	atomic_t pending;
};

static struct dentry *directory;

#define to_port(dev) container_of(dev, struct port, ntb)

static u64 link_is_up(struct ntb_dev *ntb, enum ntb_speed *speed,
		      enum ntb_width *width)
{
	struct port *port = to_port(ntb);
	bool up = READ_ONCE(port->own->enabled) &&
		  READ_ONCE(port->peer->enabled) &&
		  !READ_ONCE(port->own->severed) &&
		  !READ_ONCE(port->peer->severed);

	if (speed)
		*speed = up ? NTB_SPEED_GEN3 : NTB_SPEED_NONE;
	if (width)
		*width = up ? NTB_WIDTH_16 : NTB_WIDTH_NONE;
	return up;
}

/* Whether anything gets over the link. */
static bool reaches(struct ntb_dev *ntb)
{
	struct port *port = to_port(ntb);

	return link_is_up(ntb, NULL, NULL) && !READ_ONCE(port->own->dark) &&
	       !READ_ONCE(port->peer->dark);
}

static int link_enable(struct ntb_dev *ntb, enum ntb_speed speed,
		       enum ntb_width width)
{
	WRITE_ONCE(to_port(ntb)->own->enabled, 1);
	return 0;
}

static int link_disable(struct ntb_dev *ntb)
{
	WRITE_ONCE(to_port(ntb)->own->enabled, 0);
	return 0;
}

static int mw_count(struct ntb_dev *ntb, int pidx)
{
	return pidx ? -EINVAL : WINDOWS;
}

static int mw_get_align(struct ntb_dev *ntb, int pidx, int widx,
			resource_size_t *addr_align,
			resource_size_t *size_align, resource_size_t *size_max)
{
	if (pidx || widx < 0 || widx >= WINDOWS)
		return -EINVAL;
	if (addr_align)
		*addr_align = SZ_64K;
	if (size_align)
		*size_align = PAGE_SIZE;
	if (size_max)
		*size_max = (resource_size_t)window_kib << 10;
	return 0;
}

/* What the peer reaches goes through our IOMMU, as with a bridge: the client has to have
 * mapped it. This looks once, a bridge's IOMMU with each access. */
static phys_addr_t through_iommu(struct port *port, dma_addr_t address)
{
	struct iommu_domain *domain =
		iommu_get_domain_for_dev(&port->ntb.pdev->dev);

	return domain ? iommu_iova_to_phys(domain, address) : address;
}

static int mw_set_trans(struct ntb_dev *ntb, int pidx, int widx,
			dma_addr_t address, resource_size_t length)
{
	struct port *port = to_port(ntb);
	phys_addr_t first, last;

	if (pidx || widx < 0 || widx >= WINDOWS || !length ||
	    length > (resource_size_t)window_kib << 10 ||
	    !IS_ALIGNED(address, SZ_64K))
		return -EINVAL;
	first = through_iommu(port, address);
	last = through_iommu(port, address + length - PAGE_SIZE);
	if (!first || last != first + length - PAGE_SIZE)
		return -EFAULT;
	WRITE_ONCE(port->own->shown[widx].address, first);
	smp_wmb();
	WRITE_ONCE(port->own->shown[widx].length, length);
	return 0;
}

static int mw_clear_trans(struct ntb_dev *ntb, int pidx, int widx)
{
	if (pidx || widx < 0 || widx >= WINDOWS)
		return -EINVAL;
	WRITE_ONCE(to_port(ntb)->own->shown[widx].length, 0);
	return 0;
}

static int peer_mw_count(struct ntb_dev *ntb)
{
	return WINDOWS;
}

static int peer_mw_get_addr(struct ntb_dev *ntb, int widx, phys_addr_t *base,
			    resource_size_t *size)
{
	struct port *port = to_port(ntb);
	u64 address, length;

	if (widx < 0 || widx >= WINDOWS)
		return -EINVAL;
	length = READ_ONCE(port->peer->shown[widx].length);
	smp_rmb();
	address = READ_ONCE(port->peer->shown[widx].address);
	if (!length ||
	    address + length > pci_resource_len(port->mirror, MEMORY_BAR))
		return -ENXIO;
	*base = pci_resource_start(port->mirror, MEMORY_BAR) + address;
	*size = length;
	return 0;
}

static u64 db_valid_mask(struct ntb_dev *ntb)
{
	return BIT_ULL(DOORBELLS) - 1;
}

static u64 db_read(struct ntb_dev *ntb)
{
	return (u32)atomic_read(&to_port(ntb)->pending);
}

static int db_clear(struct ntb_dev *ntb, u64 bits)
{
	atomic_andnot((int)bits, &to_port(ntb)->pending);
	return 0;
}

static int db_set_mask(struct ntb_dev *ntb, u64 bits)
{
	struct port *port = to_port(ntb);

	WRITE_ONCE(port->masked, port->masked | bits);
	return 0;
}

static int db_clear_mask(struct ntb_dev *ntb, u64 bits)
{
	struct port *port = to_port(ntb);

	WRITE_ONCE(port->masked, port->masked & ~bits);
	return 0;
}

/* Nothing that is sent arrives while the link is down. */
static int peer_db_set(struct ntb_dev *ntb, u64 bits)
{
	if (reaches(ntb))
		atomic_or((int)bits, (atomic_t *)&to_port(ntb)->peer->doorbell);
	return 0;
}

static int spad_count(struct ntb_dev *ntb)
{
	return SCRATCHPADS;
}

static u32 spad_read(struct ntb_dev *ntb, int sidx)
{
	return sidx < 0 || sidx >= SCRATCHPADS ?
		       0 :
		       READ_ONCE(to_port(ntb)->own->pad[sidx]);
}

static int spad_write(struct ntb_dev *ntb, int sidx, u32 value)
{
	if (sidx < 0 || sidx >= SCRATCHPADS)
		return -EINVAL;
	WRITE_ONCE(to_port(ntb)->own->pad[sidx], value);
	return 0;
}

static u32 peer_spad_read(struct ntb_dev *ntb, int pidx, int sidx)
{
	if (sidx < 0 || sidx >= SCRATCHPADS || !reaches(ntb))
		return ~0;
	return READ_ONCE(to_port(ntb)->peer->pad[sidx]);
}

static int peer_spad_write(struct ntb_dev *ntb, int pidx, int sidx, u32 value)
{
	if (pidx || sidx < 0 || sidx >= SCRATCHPADS)
		return -EINVAL;
	if (reaches(ntb))
		WRITE_ONCE(to_port(ntb)->peer->pad[sidx], value);
	return 0;
}

static const struct ntb_dev_ops port_ops = {
	.link_is_up = link_is_up,
	.link_enable = link_enable,
	.link_disable = link_disable,
	.mw_count = mw_count,
	.mw_get_align = mw_get_align,
	.mw_set_trans = mw_set_trans,
	.mw_clear_trans = mw_clear_trans,
	.peer_mw_count = peer_mw_count,
	.peer_mw_get_addr = peer_mw_get_addr,
	.db_valid_mask = db_valid_mask,
	.db_read = db_read,
	.db_clear = db_clear,
	.db_set_mask = db_set_mask,
	.db_clear_mask = db_clear_mask,
	.peer_db_set = peer_db_set,
	.spad_count = spad_count,
	.spad_read = spad_read,
	.spad_write = spad_write,
	.peer_spad_read = peer_spad_read,
	.peer_spad_write = peer_spad_write,
};

/* Without the cable stores to the windows are lost, and reads give nothing. The ports of one
 * VM have one mirror, which both switch. */
static void switch_mirror(struct port *port, bool on)
{
	u16 command;

	pci_read_config_word(port->mirror, PCI_COMMAND, &command);
	command = on ? command | PCI_COMMAND_MEMORY :
		       command & ~PCI_COMMAND_MEMORY;
	pci_write_config_word(port->mirror, PCI_COMMAND, command);
}

static void look_at_cable(struct port *port)
{
	bool cut = READ_ONCE(severed);

	if (cut && !port->own->dark) {
		WRITE_ONCE(port->own->dark, 1);
		smp_mb();
		switch_mirror(port, false);
		port->notice = jiffies + msecs_to_jiffies(late_ms);
	}
	if (cut && time_after_eq(jiffies, port->notice))
		WRITE_ONCE(port->own->severed, 1);
	if (!cut && port->own->dark) {
		switch_mirror(port, true);
		smp_mb();
		WRITE_ONCE(port->own->severed, 0);
		WRITE_ONCE(port->own->dark, 0);
	}
}

/* ivshmem-plain has no interrupt: what one would tell is looked for. */
static void poll(struct work_struct *work)
{
	struct port *port = container_of(work, struct port, poll.work);
	bool up;
	u32 rung;

	look_at_cable(port);
	up = link_is_up(&port->ntb, NULL, NULL);
	if (up != port->was_up) {
		port->was_up = up;
		ntb_link_event(&port->ntb);
	}
	rung = xchg(&port->own->doorbell, 0);
	if (rung) {
		atomic_or((int)rung, &port->pending);
		if (rung & ~READ_ONCE(port->masked))
			ntb_db_event(&port->ntb, 0);
	}
	schedule_delayed_work(&port->poll, 1);
}

/* The large ivshmem. Nobody claims it: both ports of a VM and the test look through it. */
static struct pci_dev *find_mirror(void)
{
	struct pci_dev *pdev = NULL;

	while ((pdev = pci_get_device(IVSHMEM_VENDOR, IVSHMEM_DEVICE, pdev)))
		if (pci_resource_len(pdev, MEMORY_BAR) >= SZ_256M)
			break;
	return pdev;
}

static int take_side(struct port *port)
{
	for (int n = 0; n < 2; n++) {
		struct side *side = &port->control->sides[n];

		if (cmpxchg(&side->owned, 0, 1))
			continue;
		port->own = side;
		port->peer = &port->control->sides[!n];
		port->ntb.topo = n ? NTB_TOPO_B2B_DSD : NTB_TOPO_B2B_USD;
		return 0;
	}
	return -EBUSY;
}

static void give_side_back(struct port *port)
{
	struct side *side = port->own;

	memset((void *)side + sizeof(side->owned), 0,
	       sizeof(*side) - sizeof(side->owned));
	smp_store_release(&side->owned, 0);
}

static int open_memory(struct port *port, struct pci_dev *pdev)
{
	int ret = pcim_enable_device(pdev);

	if (!ret)
		ret = pcim_request_region(pdev, MEMORY_BAR,
					  "pagemove_test_ntb");
	if (ret)
		return ret;
	port->control = devm_memremap(&pdev->dev,
				      pci_resource_start(pdev, MEMORY_BAR),
				      sizeof(struct control), MEMREMAP_WB);
	if (IS_ERR(port->control))
		return PTR_ERR(port->control);
	port->mirror = find_mirror();
	if (!port->mirror)
		return -ENODEV;
	ret = pci_enable_device_mem(port->mirror);
	if (ret)
		pci_dev_put(port->mirror);
	return ret;
}

static void close_memory(struct port *port)
{
	pci_disable_device(port->mirror);
	pci_dev_put(port->mirror);
}

static int shown_show(struct seq_file *file, void *unused)
{
	struct port *port = file->private;

	for (int n = 0; n < WINDOWS; n++)
		seq_printf(file, "%#llx %#llx\n", port->own->shown[n].address,
			   port->own->shown[n].length);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(shown);

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct port *port = kzalloc(sizeof(*port), GFP_KERNEL);
	int ret;

	if (!port)
		return -ENOMEM;
	ret = open_memory(port, pdev);
	if (ret)
		goto free;
	ret = take_side(port);
	if (ret)
		goto close;
	port->ntb.pdev = pdev;
	port->ntb.ops = &port_ops;
	pci_set_master(pdev);
	pci_set_drvdata(pdev, port);
	INIT_DELAYED_WORK(&port->poll, poll);
	ret = ntb_register_device(&port->ntb);
	if (ret)
		goto give_back;
	debugfs_create_file(pci_name(pdev), 0400, directory, port, &shown_fops);
	schedule_delayed_work(&port->poll, 0);
	return 0;
give_back:
	give_side_back(port);
close:
	close_memory(port);
free:
	kfree(port);
	return ret;
}

static void remove(struct pci_dev *pdev)
{
	struct port *port = pci_get_drvdata(pdev);

	debugfs_lookup_and_remove(pci_name(pdev), directory);
	/* The client says goodbye to its peer; that needs the poll. */
	ntb_unregister_device(&port->ntb);
	cancel_delayed_work_sync(&port->poll);
	give_side_back(port);
	close_memory(port);
	kfree(port);
}

/* No table of ids: for functions whose driver_override names it. */
static struct pci_driver driver = {
	.name = "pagemove_test_ntb",
	.probe = probe,
	.remove = remove,
};

static int __init start(void)
{
	int ret;

	directory = debugfs_create_dir("pagemove_test_ntb", NULL);
	ret = pci_register_driver(&driver);
	if (ret)
		debugfs_remove(directory);
	return ret;
}
module_init(start);

static void __exit end(void)
{
	pci_unregister_driver(&driver);
	debugfs_remove(directory);
}
module_exit(end);

MODULE_DESCRIPTION("pagemove: a stand-in for an NTB, for tests");
MODULE_LICENSE("GPL");
