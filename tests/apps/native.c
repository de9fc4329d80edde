// SPDX-License-Identifier: GPL-2.0
/* A host for the programs as programs of this machine: what they tell, their digest last. */

#include <stdio.h>
#include <stdlib.h>

#include "app.h"

u64 run(u32 size);

void note(u64 value)
{
	printf("%llu\n", value);
}

int main(int count, char **arguments)
{
	if (count != 2)
		return 1;
	printf("%llu\n", run((u32)atoi(arguments[1])));
	return 0;
}
