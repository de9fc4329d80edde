// SPDX-License-Identifier: GPL-2.0
/* VFIO: the driver and its tables of callbacks, and PCI devices. */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/task_work.h>
#include <linux/vfio_pci_core.h>
#include <linux/workqueue.h>

/* The device as VFIO sees it; core has to come first (vfio_alloc_device). */
struct pagemove_vfio {
	struct vfio_pci_core_device core;
	void *owner;
	/* Unpins for a callback that must not: src/device/mod.rs. */
	struct work_struct unpin;
};

/* Written in Rust: src/device/vfio.rs. */
void *pagemove_vfio_probed(struct pci_dev *pdev, struct vfio_device *vdev);
void pagemove_vfio_removed(void *owner);
int pagemove_vfio_opened(void *owner, struct iommu_domain *domain);
void pagemove_vfio_closing(void *owner);
void pagemove_vfio_closed(void *owner);
void pagemove_vfio_dma_unmap(void *owner, u64 iova, u64 length);
void pagemove_vfio_unpin(void *owner);
void pagemove_vfio_unmapped(void *stays);

static void *owner_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct pagemove_vfio, core.vdev)->owner;
}

static void unpin_work(struct work_struct *work)
{
	pagemove_vfio_unpin(
		container_of(work, struct pagemove_vfio, unpin)->owner);
}

void pagemove_vfio_unpin_soon(struct vfio_device *vdev)
{
	queue_work(system_dfl_wq,
		   &container_of(vdev, struct pagemove_vfio, core.vdev)->unpin);
}

/* A thread that unmaps, which is noted when it returns to its program. */
struct unmapper {
	struct callback_head work;
	void *stays;
};

static void unmapper_returns(struct callback_head *work)
{
	struct unmapper *unmapper = container_of(work, struct unmapper, work);

	pagemove_vfio_unmapped(unmapper->stays);
	kfree(unmapper);
	/* What is left of this function is waited for when the module goes. */
	module_put(THIS_MODULE);
}

/* Has pagemove_vfio_unmapped called by the current task when it is through with what it is doing
 * for its program. False: it is ending. */
bool pagemove_vfio_expect(void *stays)
{
	struct unmapper *unmapper =
		kmalloc(sizeof(*unmapper), GFP_KERNEL | __GFP_NOFAIL);

	unmapper->stays = stays;
	init_task_work(&unmapper->work, unmapper_returns);
	/* Its device is open, so that VFIO has a reference. */
	__module_get(THIS_MODULE);
	if (!task_work_add(current, &unmapper->work, TWA_RESUME))
		return true;
	kfree(unmapper);
	module_put(THIS_MODULE);
	return false;
}

/* Waits for moves; none begins afterwards, and nothing of VFIO's is called for the device. */
static void end_moves(struct vfio_device *vdev)
{
	pagemove_vfio_closing(owner_of(vdev));
	/* Nothing asks for it any more. */
	flush_work(&container_of(vdev, struct pagemove_vfio, core.vdev)->unpin);
}

static int pagemove_open_device(struct vfio_device *vdev)
{
	struct vfio_pci_core_device *core =
		container_of(vdev, struct vfio_pci_core_device, vdev);
	int ret = vfio_pci_core_enable(core);

	if (ret)
		return ret;
	ret = pagemove_vfio_opened(owner_of(vdev),
				   iommu_get_domain_for_dev(&core->pdev->dev));
	if (ret) {
		end_moves(vdev);
		vfio_pci_core_disable(core);
		pagemove_vfio_closed(owner_of(vdev));
		return ret;
	}
	vfio_pci_core_finish_enable(core);
	return 0;
}

static void pagemove_close_device(struct vfio_device *vdev)
{
	end_moves(vdev);
	/* The device is reset. */
	vfio_pci_core_close_device(vdev);
	pagemove_vfio_closed(owner_of(vdev));
}

static void pagemove_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	pagemove_vfio_dma_unmap(owner_of(vdev), iova, length);
}

static const struct vfio_device_ops pagemove_vfio_ops = {
	.name = "pagemove_vfio",
	.init = vfio_pci_core_init_dev,
	.release = vfio_pci_core_release_dev,
	.open_device = pagemove_open_device,
	.close_device = pagemove_close_device,
	.ioctl = vfio_pci_core_ioctl,
	.get_region_info_caps = vfio_pci_ioctl_get_region_info,
	.device_feature = vfio_pci_core_ioctl_feature,
	.read = vfio_pci_core_read,
	.write = vfio_pci_core_write,
	.mmap = vfio_pci_core_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
	.match_token_uuid = vfio_pci_core_match_token_uuid,
	.dma_unmap = pagemove_dma_unmap,
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
	.pasid_attach_ioas = vfio_iommufd_physical_pasid_attach_ioas,
	.pasid_detach_ioas = vfio_iommufd_physical_pasid_detach_ioas,
};

static const struct vfio_pci_device_ops pagemove_pci_ops = {
	.get_dmabuf_phys = vfio_pci_core_get_dmabuf_phys,
};

/* vfio-pci's own list: what is known of these lets a guest harm the host. */
static bool is_unfit(const struct pci_dev *pdev)
{
	if (pdev->vendor != PCI_VENDOR_ID_INTEL)
		return false;
	switch (pdev->device) {
	case PCI_DEVICE_ID_INTEL_QAT_C3XXX:
	case PCI_DEVICE_ID_INTEL_QAT_C3XXX_VF:
	case PCI_DEVICE_ID_INTEL_QAT_C62X:
	case PCI_DEVICE_ID_INTEL_QAT_C62X_VF:
	case PCI_DEVICE_ID_INTEL_QAT_DH895XCC:
	case PCI_DEVICE_ID_INTEL_QAT_DH895XCC_VF:
	case PCI_DEVICE_ID_INTEL_DSA_SPR0:
	case PCI_DEVICE_ID_INTEL_IAX_SPR0:
		return true;
	default:
		return false;
	}
}

static int pagemove_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct pagemove_vfio *dev;
	int ret;

	if (is_unfit(pdev)) {
		pci_warn(
			pdev,
			"%04x:%04x is not fit for guests that are not trusted: refused, as by vfio-pci\n",
			pdev->vendor, pdev->device);
		return -EINVAL;
	}
	dev = vfio_alloc_device(pagemove_vfio, core.vdev, &pdev->dev,
				&pagemove_vfio_ops);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	INIT_WORK(&dev->unpin, unpin_work);
	dev->core.pci_ops = &pagemove_pci_ops;
	dev_set_drvdata(&pdev->dev, &dev->core);

	dev->owner = pagemove_vfio_probed(pdev, &dev->core.vdev);
	if (!dev->owner) {
		vfio_put_device(&dev->core.vdev);
		return -ENOMEM;
	}
	ret = vfio_pci_core_register_device(&dev->core);
	if (ret) {
		pagemove_vfio_removed(dev->owner);
		vfio_put_device(&dev->core.vdev);
	}
	return ret;
}

static void pagemove_remove(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);
	void *owner = owner_of(&core->vdev);

	/* Returns when the device is closed, so no callback comes any more. */
	vfio_pci_core_unregister_device(core);
	pagemove_vfio_removed(owner);
	vfio_put_device(&core->vdev);
}

static const struct pci_device_id pagemove_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) },
	{}
};
/*
 * No MODULE_DEVICE_TABLE: it would be an alias that fits every device as well as
 * vfio-pci's, and who looks for the best driver there, as libvirt does, might
 * take this one for guests that nobody wants to move. Who wants it names it.
 */
MODULE_ALIAS("pagemove_vfio");
MODULE_ALIAS("pagemove_aperture");

static struct pci_driver pagemove_pci_driver = {
	.name = "pagemove_vfio",
	.id_table = pagemove_ids,
	.probe = pagemove_probe,
	.remove = pagemove_remove,
	.err_handler = &vfio_pci_core_err_handlers,
	.driver_managed_dma = true,
};

/* Held while functions are looked at that may be unplugged. */
static DECLARE_RWSEM(looking);

void pagemove_pci_look(void)
{
	down_read(&looking);
}

void pagemove_pci_look_away(void)
{
	up_read(&looking);
}

struct function_visit {
	bool (*visit)(void *context, struct pci_dev *pdev);
	void *context;
};

static int visit_function(struct device *dev, void *data)
{
	const struct function_visit *call = data;

	return call->visit(call->context, to_pci_dev(dev));
}

/* Visits each function until that says so; each stays while it is visited. One search for all: by
 * pci_get_device() each function is one of its own, which begins with a search for the bus. */
bool pagemove_pci_any(bool (*visit)(void *context, struct pci_dev *pdev),
		      void *context)
{
	struct function_visit call = { .visit = visit, .context = context };

	return bus_for_each_dev(&pci_bus_type, NULL, &call, visit_function);
}

/* A function is being removed: no search finds it any more, and none is left that has. */
static int on_bus(struct notifier_block *block, unsigned long action,
		  void *data)
{
	if (action == BUS_NOTIFY_REMOVED_DEVICE) {
		down_write(&looking);
		up_write(&looking);
	}
	return NOTIFY_DONE;
}

/* Before the IOMMU core's, which takes the function out of its group and frees that. */
static struct notifier_block bus_block = {
	.notifier_call = on_bus,
	.priority = 1,
};

int pagemove_register_vfio(void)
{
	int ret = bus_register_notifier(&pci_bus_type, &bus_block);

	if (ret)
		return ret;
	ret = pci_register_driver(&pagemove_pci_driver);
	if (ret)
		bus_unregister_notifier(&pci_bus_type, &bus_block);
	return ret;
}

void pagemove_unregister_vfio(void)
{
	pci_unregister_driver(&pagemove_pci_driver);
	/* A thread may be in the last lines of unmapper_returns(). */
	synchronize_rcu_tasks();
	bus_unregister_notifier(&pci_bus_type, &bus_block);
}

bool pagemove_pci_is_ours(struct pci_dev *pdev)
{
	return pdev->dev.driver == &pagemove_pci_driver.driver;
}

bool pagemove_pci_has_driver(struct pci_dev *pdev)
{
	return READ_ONCE(pdev->dev.driver);
}

struct driver_search {
	struct pci_dev *pdev;
	const char *name;
};

static int is_driver(struct device_driver *driver, void *data)
{
	const struct driver_search *search = data;

	return READ_ONCE(search->pdev->dev.driver) == driver &&
	       !strcmp(driver->name, search->name);
}

/* The function's driver may be unbound and go at any moment, so its name is not read by way of
 * the function: a driver that is registered can't go while it is visited. */
bool pagemove_pci_is_driven_by(struct pci_dev *pdev, const char *name)
{
	struct driver_search search = { .pdev = pdev, .name = name };

	return bus_for_each_drv(&pci_bus_type, NULL, &search, is_driver);
}

u32 pagemove_pci_address(struct pci_dev *pdev)
{
	return (u32)pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev);
}

int pagemove_pci_node(struct pci_dev *pdev)
{
	return dev_to_node(&pdev->dev);
}

struct iommu_domain *pagemove_pci_domain(struct pci_dev *pdev)
{
	return iommu_get_domain_for_dev(&pdev->dev);
}

struct domain_visit {
	void (*visit)(void *context, struct iommu_domain *domain);
	void *context;
	/* The one that the group had a moment before: only its pointer is compared. */
	struct iommu_domain *before;
	bool known;
};

static int visit_domain(struct device *dev, void *data)
{
	struct domain_visit *call = data;
	struct iommu_domain *domain = iommu_driver_get_domain_for_dev(dev);

	/*
	 * A device with ATS that is being reset has the blocking domain meanwhile, whatever its
	 * group has: which that is can't be told here.
	 */
	if (domain != call->before)
		call->known = false;
	if (domain && domain->type == IOMMU_DOMAIN_UNMANAGED)
		call->visit(call->context, domain);
	return 1; /* one device speaks for its group */
}

/* Calls back with the domain that a VFIO user attached, if there is one. It can
 * not be detached, and so not be freed, meanwhile: that takes the group's mutex. False: there may
 * be another one, which can't be seen now. */
bool pagemove_pci_with_domain(struct pci_dev *pdev,
			      void (*visit)(void *context,
					    struct iommu_domain *domain),
			      void *context)
{
	struct domain_visit call = {
		.visit = visit,
		.context = context,
		.known = true,
	};
	struct iommu_group *group = iommu_group_get(&pdev->dev);

	if (!group)
		return true;
	call.before = iommu_get_domain_for_dev(&pdev->dev);
	iommu_group_for_each_dev(group, &call, visit_domain);
	iommu_group_put(group);
	return call.known;
}

const char *pagemove_pci_iommu_name(struct pci_dev *pdev)
{
	struct dev_iommu *iommu = pdev->dev.iommu;

	return iommu && iommu->iommu_dev && iommu->iommu_dev->dev ?
		       dev_name(iommu->iommu_dev->dev) :
		       NULL;
}

/*
 * Writes to `text`, which is a page, where the registers of the IOMMU are that a function is behind: what
 * its driver shows in sysfs (VT-d: intel-iommu/address), in hexadecimal digits. Returns the length of the
 * text; 0 or less: it shows none. Asked of the attribute itself, for the driver's own structure is
 * nobody else's.
 */
ssize_t pagemove_pci_iommu_registers(struct pci_dev *pdev, char *text)
{
	struct dev_iommu *iommu = pdev->dev.iommu;
	struct device *dev = iommu && iommu->iommu_dev ? iommu->iommu_dev->dev :
							 NULL;
	const struct attribute_group **group;
	struct attribute **attr;

	for (group = dev ? dev->groups : NULL; group && *group; group++) {
		if (!(*group)->name || strcmp((*group)->name, "intel-iommu"))
			continue;
		for (attr = (*group)->attrs; attr && *attr; attr++) {
			struct device_attribute *address = container_of(
				*attr, struct device_attribute, attr);

			if (!strcmp((*attr)->name, "address") && address->show)
				return address->show(dev, address, text);
		}
	}
	return 0;
}

bool pagemove_pci_has_ats(struct pci_dev *pdev)
{
#ifdef CONFIG_PCI_ATS
	return pdev->ats_enabled;
#else
	return false;
#endif
}

/* Whether it is in a state in which it does nothing but wake up. */
bool pagemove_pci_is_asleep(struct pci_dev *pdev)
{
	pci_power_t state = READ_ONCE(pdev->current_state);

	return state >= PCI_D1 && state <= PCI_D3cold;
}

bool pagemove_pci_is_present(struct pci_dev *pdev)
{
	return pci_device_is_present(pdev);
}
