/* SPDX-License-Identifier: GPL-2.0 */
/* The guest's memory as a transaction sees it. */
#ifndef RTM_MEMORY_H
#define RTM_MEMORY_H

#include "vcpu.h"

/* `size` is 1 to 16 bytes. After an abort they do nothing and read 0. */
void memory_read(struct vcpu *vcpu, uint64_t address, void *to,
		 unsigned int size);
void memory_write(struct vcpu *vcpu, uint64_t address, const void *from,
		  unsigned int size);
/* Bytes of instructions, which are not part of the read set. */
uint8_t memory_fetch(struct vcpu *vcpu, uint64_t address);

/* Whether nobody has changed line n since it was touched first. */
bool memory_unchanged(const struct line *line);
/* Whether the stores can be made: the pages are still there and writable. */
bool memory_ready(struct vcpu *vcpu);
/* Make the stores of the transaction; no other CPU and no device runs. */
void memory_commit(struct vcpu *vcpu);

#endif
