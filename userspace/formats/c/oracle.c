// SPDX-License-Identifier: GPL-2.0
/*
 * Answers questions about page-table entries with the kernel's own functions. One
 * question a line, one line of answer; numbers are hexadecimal:
 *
 *   e LEVEL ENTRY                  0: empty; 1 ADDRESS: a table;
 *                                  2 ADDRESS LG2 POSSIBLE DIRTY: a leaf of 2^LG2 bytes,
 *                                  and whether the kernel makes such a leaf there
 *   l LEVEL ADDRESS LG2 PROTECTION the entry that maps this, and in how many places
 *   t LEVEL ADDRESS                the entry that points to this table
 *   d LEVEL ENTRY                  the entry after it was made dirty
 *   c                              accessed and dirty bit where the header names them,
 *                                  highest level of a table
 */
#include FORMAT_INSTANCE

#include <stdio.h>
#include <string.h>

#define ITEMS 512

static u64 table[ITEMS];
static struct pt_common common;
static struct pt_range range = { .common = &common };

static struct pt_state state_at(unsigned int level)
{
	struct pt_state pts = {
		.range = &range,
		.table = (struct pt_table_p *)table,
		.level = level,
	};

	memset(table, 0, sizeof(table));
	return pts;
}

static void tell_entry(unsigned int level, u64 entry)
{
	struct pt_state pts = state_at(level);
	unsigned int lg2, possible;

	table[0] = entry;
	pts.type = pt_load_entry_raw(&pts);
	switch (pts.type) {
	case PT_ENTRY_EMPTY:
		printf("0\n");
		return;
	case PT_ENTRY_TABLE:
		printf("1 %llx\n", (u64)pt_table_pa(&pts));
		return;
	case PT_ENTRY_OA:
		lg2 = pt_entry_oa_lg2sz(&pts);
		possible = lg2 < 64 && (pt_possible_sizes(&pts) >> lg2 & 1);
		printf("2 %llx %x %x %x\n", (u64)pt_entry_oa(&pts), lg2,
		       possible, possible && pt_entry_is_write_dirty(&pts));
	}
}

static void tell_leaf(unsigned int level, u64 address, unsigned int lg2,
		      unsigned int protection)
{
	struct pt_state pts = state_at(level);
	struct pt_write_attrs attrs = {};
	unsigned int places = 0;

	if (pt_iommu_set_prot(&common, &attrs, protection)) {
		printf("refused\n");
		return;
	}
	pt_install_leaf_entry(&pts, address, lg2, &attrs);
	while (places < ITEMS && table[places] && table[places] == table[0])
		places++;
	printf("%llx %x\n", table[0], places);
}

static void tell_table(unsigned int level, u64 address)
{
	struct pt_state pts = state_at(level);
	struct pt_write_attrs attrs = {};

	pt_install_table(&pts, address, &attrs);
	printf("%llx\n", table[0]);
}

static void tell_dirty(unsigned int level, u64 entry)
{
	struct pt_state pts = state_at(level);

	table[0] = entry;
	pts.type = pt_load_entry_raw(&pts);
	pt_entry_make_write_dirty(&pts);
	printf("%llx\n", table[0]);
}

static void tell_constants(void)
{
	printf("%llx %llx %x\n", (u64)ACCESSED, (u64)DIRTY, PT_MAX_TOP_LEVEL);
}

int main(void)
{
	char line[128];

	while (fgets(line, sizeof(line), stdin)) {
		u64 word;
		unsigned int level, lg2, protection;

		if (sscanf(line, "e %x %llx", &level, &word) == 2)
			tell_entry(level, word);
		else if (sscanf(line, "l %x %llx %x %x", &level, &word, &lg2,
				&protection) == 4)
			tell_leaf(level, word, lg2, protection);
		else if (sscanf(line, "t %x %llx", &level, &word) == 2)
			tell_table(level, word);
		else if (sscanf(line, "d %x %llx", &level, &word) == 2)
			tell_dirty(level, word);
		else if (line[0] == 'c')
			tell_constants();
		else
			return 1;
	}
	return 0;
}
