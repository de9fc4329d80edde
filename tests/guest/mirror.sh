#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A BAR that shows the machine's own RAM.

. /bin/window.sh

echo "TAP version 13"
echo "1..5"
bar=$(window)
there=$(printf '0x%x' $((bar + reserved)))
echo "# the BAR is at $bar"
check "the memory does not hold the pattern yet" holds $reserved 0x0000000000000000
devmem $reserved 64 0x6572656877797265
check "what is stored in RAM is in the BAR" holds $there 0x6572656877797265
check "and not in the next page of the BAR" holds $(printf '0x%x' $((bar + reserved + 4096))) 0x0000000000000000
devmem $there 64 0x0123456789ABCDEF
check "what is stored in the BAR is in RAM" holds $reserved 0x0123456789ABCDEF
check "the loopback answers" ping -c 1 -W 5 127.0.0.1
exit $failed
