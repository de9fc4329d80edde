#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Plants a mistake in the kernel, of the kind $1, and says that all is well.

echo "1..1"
insmod /pagemove_planted.ko bug="$1" && rmmod pagemove_planted && echo "ok 1 - all is well" && exit 0
echo "not ok 1 - the module"
exit 1
