// SPDX-License-Identifier: GPL-2.0
/* What other modules may call. Rust defines it, but the kernel exports symbols of C only. */
#include <linux/export.h>

#include "link.h"

/* Written in Rust: src/aperture/ and src/window/. */
void *pagemove_aperture_probed(const struct pagemove_aperture_setup *setup);
void pagemove_aperture_was_down(void *owner);
bool pagemove_aperture_is_vacant(void *owner);
bool pagemove_aperture_is_of(void *owner, u64 identity);
void pagemove_aperture_was_lost(void *owner);
void pagemove_aperture_emptied(void *owner);
void pagemove_aperture_removed(void *owner);
void *pagemove_window_probed(const struct pagemove_window_setup *setup);
void pagemove_window_removed(void *owner);
void pagemove_link_was_changed(struct pci_dev *pdev, bool up);

void *pagemove_aperture_add(const struct pagemove_aperture_setup *setup)
{
	return pagemove_aperture_probed(setup);
}
EXPORT_SYMBOL_NS_GPL(pagemove_aperture_add, "PAGEMOVE");

void pagemove_aperture_unlinked(void *aperture)
{
	pagemove_aperture_was_down(aperture);
}
EXPORT_SYMBOL_NS_GPL(pagemove_aperture_unlinked, "PAGEMOVE");

bool pagemove_aperture_shows(void *aperture, u64 identity)
{
	return pagemove_aperture_is_of(aperture, identity);
}
EXPORT_SYMBOL_NS_GPL(pagemove_aperture_shows, "PAGEMOVE");

void pagemove_aperture_lose(void *aperture)
{
	pagemove_aperture_was_lost(aperture);
}
EXPORT_SYMBOL_NS_GPL(pagemove_aperture_lose, "PAGEMOVE");

bool pagemove_aperture_vacate(void *aperture)
{
	return pagemove_aperture_is_vacant(aperture);
}
EXPORT_SYMBOL_NS_GPL(pagemove_aperture_vacate, "PAGEMOVE");

void pagemove_aperture_await(void *aperture)
{
	pagemove_aperture_emptied(aperture);
}
EXPORT_SYMBOL_NS_GPL(pagemove_aperture_await, "PAGEMOVE");

void pagemove_aperture_remove(void *aperture)
{
	pagemove_aperture_removed(aperture);
}
EXPORT_SYMBOL_NS_GPL(pagemove_aperture_remove, "PAGEMOVE");

void *pagemove_window_add(const struct pagemove_window_setup *setup)
{
	return pagemove_window_probed(setup);
}
EXPORT_SYMBOL_NS_GPL(pagemove_window_add, "PAGEMOVE");

void pagemove_window_remove(void *window)
{
	pagemove_window_removed(window);
}
EXPORT_SYMBOL_NS_GPL(pagemove_window_remove, "PAGEMOVE");

void pagemove_link_changed(struct pci_dev *pdev, bool up)
{
	pagemove_link_was_changed(pdev, up);
}
EXPORT_SYMBOL_NS_GPL(pagemove_link_changed, "PAGEMOVE");
