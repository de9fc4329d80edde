// SPDX-License-Identifier: GPL-2.0
#include "memory.h"
#include "counters.h"
#include "options.h"

#include <string.h>
#include <unistd.h>

#define PAGE 4096ull

/* Where the page of `address` is in QEMU's memory; NULL: a fault, or no RAM. */
static uint8_t *probe(struct vcpu *vcpu, uint64_t address, int size,
		      enum mmu_access access)
{
	void *host = NULL;
	int flags = probe_access_flags(vcpu->env, address, size, access,
				       vcpu->mmu_index, true, &host, 0);

	return flags ? NULL : host;
}

static uint8_t *translate(struct vcpu *vcpu, uint64_t address, bool write)
{
	struct transaction *transaction = &vcpu->transaction;
	struct translation *known =
		&transaction->translations[address / PAGE % TRANSLATIONS];
	uint64_t page = address & ~(PAGE - 1);
	uint8_t *host;

	if (known->generation == transaction->generation &&
	    known->page == page && (known->writable || !write))
		return known->host + (address - page);
	host = probe(vcpu, page, 1, write ? MMU_STORE : MMU_LOAD);
	if (!host) {
		transaction_abort(transaction, RTM_ABORTED_FAULT, 0);
		return NULL;
	}
	*known = (struct translation){ page, host, write,
				       transaction->generation };
	return host + (address - page);
}

static struct line *touch(struct vcpu *vcpu, uint64_t address, bool write)
{
	struct transaction *transaction = &vcpu->transaction;
	uint8_t *host = translate(vcpu, address & ~(uint64_t)(LINE - 1), write);
	struct line *line;
	bool room = true;

	if (!host)
		return NULL;
	line = lines_find(&transaction->lines, host);
	/* What is read after that is what others can no longer change unseen. */
	if (write && !(line && line->in_write_set))
		room = guard_line(&transaction->guard, host);
	if (!line) {
		uint64_t content[LINE / 8];

		guard_read(&transaction->guard, host, content);
		line = lines_add(&transaction->lines, host, content);
	}
	if (!room || !line ||
	    (write && !lines_write(&transaction->lines, line, address))) {
		transaction_abort(transaction, RTM_ABORTED_CAPACITY,
				  STATUS_CAPACITY);
		return NULL;
	}
	return line;
}

void memory_read(struct vcpu *vcpu, uint64_t address, void *to,
		 unsigned int size)
{
	memset(to, 0, size);
	while (size && !vcpu->transaction.aborted) {
		unsigned int at = address % LINE;
		unsigned int part = size < LINE - at ? size : LINE - at;
		const struct line *line = touch(vcpu, address, false);

		if (!line)
			return;
		memcpy(to, line->now.bytes + at, part);
		to = (uint8_t *)to + part;
		address += part;
		size -= part;
	}
}

void memory_write(struct vcpu *vcpu, uint64_t address, const void *from,
		  unsigned int size)
{
	while (size && !vcpu->transaction.aborted) {
		unsigned int at = address % LINE;
		unsigned int part = size < LINE - at ? size : LINE - at;
		struct line *line = touch(vcpu, address, true);

		if (!line)
			return;
		memcpy(line->now.bytes + at, from, part);
		line->written |= ((1ull << part) - 1) << at;
		from = (const uint8_t *)from + part;
		address += part;
		size -= part;
	}
}

uint8_t memory_fetch(struct vcpu *vcpu, uint64_t address)
{
	struct translation *code = &vcpu->transaction.code;
	uint64_t page = address & ~(PAGE - 1);

	if (code->generation != vcpu->transaction.generation ||
	    code->page != page) {
		uint8_t *host = probe(vcpu, page, 1, MMU_FETCH);

		if (!host) {
			transaction_abort(&vcpu->transaction, RTM_ABORTED_FAULT,
					  0);
			return 0;
		}
		*code = (struct translation){ page, host, false,
					      vcpu->transaction.generation };
	}
	return *(volatile const uint8_t *)(code->host + (address - page));
}

bool memory_unchanged(const struct line *line)
{
	return memcmp(line->host, line->first.bytes, LINE) == 0;
}

bool memory_ready(struct vcpu *vcpu)
{
	struct lines *lines = &vcpu->transaction.lines;

	/* This also tells QEMU that code it has translated may change. */
	for (size_t n = 0; n < lines->count; n++) {
		struct line *line = &lines->all[n];

		if (line->in_write_set &&
		    probe(vcpu, line->address, LINE, MMU_STORE) != line->host)
			return false;
	}
	return true;
}

void memory_commit(struct vcpu *vcpu)
{
	struct lines *lines = &vcpu->transaction.lines;

	for (size_t n = 0; n < lines->count; n++) {
		const struct line *line = &lines->all[n];

		for (int word = 0; line->written && word < LINE / 8; word++) {
			uint8_t mask = line->written >> 8 * word;
			volatile uint64_t *to =
				(volatile uint64_t *)line->host + word;

			/* Everything else in the word is as it was: nobody else runs. */
			if (mask)
				*to = line->now.words[word];
		}
		/* Nobody would ever come in between. */
		if (options.broken.exclusive)
			usleep(10);
		else if (line->written &&
			 memcmp(line->host, line->now.bytes, LINE) != 0) {
			count(RTM_LEAKED);
			report_note("a line was written to during a commit");
		}
	}
}
