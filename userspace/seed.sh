#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# seed.sh DIR: makes the build directory DIR of a checkout's cargo from the fullest one beside it, so
# that the crates of others are not compiled anew for each checkout. DIR that is there is left alone.
#
# Our own packages have to be: cargo tells the packages of two checkouts apart by nothing, and
# whether what was built is still good by the time of a source. So it is left out which of ours were
# built (.fingerprint/NAME-HASH), and cargo builds each of them.
set -eu

dir=$1
userspace=$(dirname "$0")
[ ! -e "$dir" ] || exit 0
beside=$(dirname "$dir")
[ -d "$beside" ] || exit 0
from=
most=0
for one in "$beside"/*/CACHEDIR.TAG; do
	one=$(dirname "$one")
	count=$(ls -d "$one"/*/.fingerprint/* "$one"/*/*/.fingerprint/* 2>/dev/null | wc -l)
	if [ "$count" -gt "$most" ]; then
		from=$one
		most=$count
	fi
done
[ -n "$from" ] || exit 0
part=$(mktemp -d "$dir.XXXXXX.part")
trap 'rm -rf "$part"' EXIT
echo "cargo: taking the crates of others from an earlier checkout's $from" >&2

ours=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$userspace"/*/Cargo.toml "$userspace"/../src/engine/Cargo.toml)
# A profile's directory of DIR, or of DIR/TARGET. What says that a crate was built comes first: whoever
# is building there meanwhile writes it last.
for built in "$from"/*/.fingerprint "$from"/*/*/.fingerprint; do
	[ -d "$built" ] || continue
	profile=$(dirname "$built")
	to=$part/${profile#"$from"/}
	mkdir -p "$to"
	cp -a "$built" "$to/"
	for name in $ours; do
		for one in "$to/.fingerprint/$name"-*; do
			# Also what only begins so: it is built once more than needed.
			rm -rf "$one"
		done
	done
	for more in build deps; do
		[ ! -d "$profile/$more" ] || cp -a "$profile/$more" "$to/"
	done
done
# Another make may have been first.
mv -T "$part" "$dir" 2>/dev/null || :
