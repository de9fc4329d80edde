// SPDX-License-Identifier: GPL-2.0
/* What a function's requests do on their way, as far as configuration space tells. */
#include <linux/pci.h>

/* Whether a port hands translated requests to its siblings, without asking above. */
static bool hands_over(struct pci_dev *port)
{
	u16 control = 0;

	if (!port->acs_cap)
		return true;
	/* What can not be read is 0, or all ones: it does. */
	pci_read_config_word(port, port->acs_cap + PCI_ACS_CTRL, &control);
	return !(control & PCI_ACS_RR) || (control & PCI_ACS_DT);
}

static bool is_below(struct pci_bus *bus, struct pci_dev *pdev)
{
	for (struct pci_bus *at = pdev->bus; at; at = at->parent)
		if (at == bus)
			return true;
	return false;
}

/*
 * Whether a translated request (ATS) of one function reaches the other without having been in the root complex: the
 * answer to an invalidation, which goes there, pushes no such request before it.
 */
bool pagemove_pci_goes_direct(struct pci_dev *from, struct pci_dev *to)
{
	struct pci_dev *port = from;

	for (; port; port = pci_upstream_bridge(port)) {
		struct pci_bus *bus = pci_physfn(port)->bus;

		if (pci_is_root_bus(bus))
			return false;
		if (is_below(bus, to))
			return hands_over(port);
	}
	return false;
}

/*
 * Whether the function may mark requests "no snoop". One without the capability is of conventional PCI, which has no such
 * mark, but for displays within the processor.
 */
bool pagemove_pci_may_pass_caches(struct pci_dev *pdev)
{
	u16 control = 0;

	if (!pci_is_pcie(pdev))
		return pci_is_root_bus(pdev->bus) &&
		       pdev->class >> 16 == PCI_BASE_CLASS_DISPLAY;
	/* What can not be read may be anything. */
	return pcie_capability_read_word(pdev, PCI_EXP_DEVCTL, &control) ||
	       (control & PCI_EXP_DEVCTL_NOSNOOP_EN);
}
