#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs two hosts of pagemove_ntb in every kind of trouble, on the host: world.c. SEEDS says how many orders.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$here/../../../src
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/include/linux" "$folder/src" "$folder/tests/ntb/sim"
cp -r "$source/ntb" "$folder/src"
mkdir "$folder/src/shim"
cp "$source/shim/link.h" "$folder/src/shim"
cp "$here/world.c" "$here/kernel.h" "$folder/tests/ntb/sim"
for name in dma-mapping io iommu jhash kobject log2 module mutex ntb pci random slab spinlock types wait workqueue; do
	echo '#include "kernel.h"' > "$folder/include/linux/$name.h"
done
cd "$folder/tests/ntb/sim"

# One by one: each file has names of its own.
build() {
	for file in client view window; do
		cc -std=gnu11 -O2 -g -w -I"$folder/include" -I. -c -o $file.o "$folder/src/ntb/$file.c"
	done
	cc -std=gnu11 -O2 -g -Wall -Werror -I"$folder/include" -I. -o world world.c ./*.o
}

n=0
# What it shows, which twin of world.c's, and what that finds; "": nothing.
judge() {
	n=$((n + 1))
	status=0
	./world "${SEEDS:-3000}" "$2" > out || status=$?
	cat out
	wanted=$([ -z "$3" ] && echo 0 || echo 1)
	if [ "$status" = "$wanted" ] && grep -q "$3" out; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
	fi
}

# The same with an edit of the client's.
edited() {
	cp "$source/ntb/$2" before
	sed "$3" before > "$folder/src/ntb/$2"
	if cmp -s before "$folder/src/ntb/$2"; then
		echo "# $2 has no such line"
		exit 1
	fi
	build
	judge "$1" 0 "$4"
	cp before "$folder/src/ntb/$2"
}

echo 1..5
build
judge "no device reaches other memory, no page is given up that is there, all goes on afterwards" 0 ""
judge "left out: the comparison of what a window shows; found" 1 "comes home as\|other memory"
judge "left out: the entries of lost pages are taken away; found" 2 "by an entry of a lost page"
edited "left out: the peer agrees before a window shows anything; found" window.c 's/if (!before && own->agreed)/if (!before)/' "other memory"
edited "left out: the sum of a message; found" view.c 's/if (shown != shown_in(.*))$/if (0)/' "other memory\|pages are given up"
