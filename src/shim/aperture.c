// SPDX-License-Identifier: GPL-2.0
/* A PCI function whose memory BAR shows memory elsewhere: the driver that claims it. */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>

#include "link.h"

struct pagemove_aperture {
	void __iomem *virt;
	void *owner;
	int bar;
};

/* Such BARs are large, registers are not. */
static int largest_memory_bar(struct pci_dev *pdev)
{
	resource_size_t largest = 0;
	int found = -ENODEV;

	for (int bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		if (!(pci_resource_flags(pdev, bar) & IORESOURCE_MEM))
			continue;
		if (pci_resource_len(pdev, bar) <= largest)
			continue;
		largest = pci_resource_len(pdev, bar);
		found = bar;
	}
	return found;
}

static int claim(struct pci_dev *pdev, struct pagemove_aperture *aperture)
{
	u64 first = pci_resource_start(pdev, aperture->bar);
	u64 length = pci_resource_len(pdev, aperture->bar);
	int ret = pci_request_selected_regions_exclusive(
		pdev, BIT(aperture->bar), "pagemove_aperture");

	if (ret)
		return ret;
	aperture->virt = ioremap_wc(first, length);
	if (aperture->virt) {
		struct pagemove_aperture_setup setup = {
			.pdev = pdev,
			.number = aperture->bar,
			.first = first,
			.length = length,
			.virt = (__force void *)aperture->virt,
		};

		aperture->owner = pagemove_aperture_add(&setup);
		if (aperture->owner)
			return 0;
		iounmap(aperture->virt);
	}
	pci_release_selected_regions(pdev, BIT(aperture->bar));
	return -ENOMEM;
}

static int aperture_bind(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct pagemove_aperture *aperture;
	int ret;

	aperture = devm_kzalloc(&pdev->dev, sizeof(*aperture), GFP_KERNEL);
	if (!aperture)
		return -ENOMEM;
	aperture->bar = largest_memory_bar(pdev);
	if (aperture->bar < 0)
		return aperture->bar;
	ret = pci_enable_device_mem(pdev);
	if (ret)
		return ret;
	ret = claim(pdev, aperture);
	if (ret) {
		pci_disable_device(pdev);
		return ret;
	}
	pci_set_drvdata(pdev, aperture);
	return 0;
}

static void aperture_unbind(struct pci_dev *pdev)
{
	struct pagemove_aperture *aperture = pci_get_drvdata(pdev);

	/* Returns when no page is there. */
	pagemove_aperture_remove(aperture->owner);
	iounmap(aperture->virt);
	pci_release_selected_regions(pdev, BIT(aperture->bar));
	pci_disable_device(pdev);
}

/* No table of ids: for functions whose driver_override names it. */
static struct pci_driver aperture_driver = {
	.name = "pagemove_aperture",
	.probe = aperture_bind,
	.remove = aperture_unbind,
};

int pagemove_register_aperture(void)
{
	return pci_register_driver(&aperture_driver);
}

void pagemove_unregister_aperture(void)
{
	pci_unregister_driver(&aperture_driver);
}

/*
 * Sends ahead what was stored to the aperture, and waits until it has arrived: a read of a line there
 * can not overtake posted writes to it. It may not be done before the stores left, either: SFENCE orders no
 * read after them, and one of write-combining memory may be speculative. Nor may a page be read, which comes home, before
 * the invalidation is complete that is before this. module-file looks for the fence in the object.
 */
u64 pagemove_aperture_read_back(const void *word)
{
	mb();
	return READ_ONCE(*(const u64 *)word);
}
