// SPDX-License-Identifier: GPL-2.0
/* Functions about PCI functions, IOMMUs and VFIO that can fail: see wrappers.c. */
#include <linux/instruction_pointer.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/vfio_pci_core.h>

#include "fault.h"

static struct pci_dev *new_function(struct pci_dev *pdev)
{
	if (pdev)
		pagemove_held(PAGEMOVE_FUNCTIONS, 1);
	return pdev;
}

WRAPPED(pci_get_domain_bus_and_slot, struct pci_dev *)
(int domain, unsigned int bus, unsigned int devfn)
{
	return FAILS(pci_get_domain_bus_and_slot) ?
		       NULL :
		       new_function(__real_pci_get_domain_bus_and_slot(
			       domain, bus, devfn));
}

WRAPPED(pci_dev_get, struct pci_dev *)
(struct pci_dev *pdev)
{
	return new_function(__real_pci_dev_get(pdev));
}

WRAPPED(pci_dev_put, void)
(struct pci_dev *pdev)
{
	if (pdev)
		pagemove_held(PAGEMOVE_FUNCTIONS, -1);
	__real_pci_dev_put(pdev);
}

WRAPPED(pci_device_is_present, bool)
(struct pci_dev *pdev)
{
	return !FAILS(pci_device_is_present) &&
	       __real_pci_device_is_present(pdev);
}

WRAPPED(pci_enable_device_mem, int)
(struct pci_dev *pdev)
{
	return FAILS(pci_enable_device_mem) ?
		       -EIO :
		       __real_pci_enable_device_mem(pdev);
}

WRAPPED(pci_request_selected_regions_exclusive, int)
(struct pci_dev *pdev, int bars, const char *name)
{
	return FAILS(pci_request_selected_regions) ?
		       -EBUSY :
		       __real_pci_request_selected_regions_exclusive(pdev, bars,
								     name);
}

WRAPPED(iommu_get_domain_for_dev, struct iommu_domain *)
(struct device *dev)
{
	return FAILS(iommu_get_domain_for_dev) ?
		       NULL :
		       __real_iommu_get_domain_for_dev(dev);
}

WRAPPED(iommu_driver_get_domain_for_dev, struct iommu_domain *)
(struct device *dev)
{
	return FAILS(iommu_driver_get_domain_for_dev) ?
		       NULL :
		       __real_iommu_driver_get_domain_for_dev(dev);
}

WRAPPED(iommu_group_get, struct iommu_group *)
(struct device *dev)
{
	struct iommu_group *group =
		FAILS(iommu_group_get) ? NULL : __real_iommu_group_get(dev);

	if (group)
		pagemove_held(PAGEMOVE_GROUPS, 1);
	return group;
}

WRAPPED(iommu_group_put, void)
(struct iommu_group *group)
{
	if (group)
		pagemove_held(PAGEMOVE_GROUPS, -1);
	__real_iommu_group_put(group);
}

WRAPPED(_vfio_alloc_device, struct vfio_device *)
(size_t size, struct device *dev, const struct vfio_device_ops *device_ops)
{
	return FAILS(vfio_alloc_device) ?
		       ERR_PTR(-ENOMEM) :
		       __real__vfio_alloc_device(size, dev, device_ops);
}

WRAPPED(vfio_pci_core_enable, int)
(struct vfio_pci_core_device *core)
{
	return FAILS(vfio_pci_core_enable) ? -ENOMEM :
					     __real_vfio_pci_core_enable(core);
}

WRAPPED(vfio_pci_core_register_device, int)
(struct vfio_pci_core_device *core)
{
	return FAILS(vfio_pci_core_register_device) ?
		       -ENOMEM :
		       __real_vfio_pci_core_register_device(core);
}

WRAPPED(vfio_pin_pages, int)
(struct vfio_device *device, dma_addr_t iova, int pages, int prot,
 struct page **to)
{
	int pinned = __real_vfio_pin_pages(device, iova, pages, prot, to);

	if (pinned > 0)
		pagemove_held(PAGEMOVE_PINS, pinned);
	return pinned;
}

WRAPPED(vfio_unpin_pages, void)
(struct vfio_device *device, dma_addr_t iova, int pages)
{
	pagemove_held(PAGEMOVE_PINS, -pages);
	__real_vfio_unpin_pages(device, iova, pages);
}
