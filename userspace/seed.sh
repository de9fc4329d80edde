#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# seed.sh DIR: makes the build directory DIR of a checkout's cargo from the fullest one beside it, so
# that the crates of others are not compiled anew for each checkout. DIR that is there is left alone.
# It only saves time: where it fails it leaves nothing behind, and is content.
#
# Our own packages have to be built: cargo tells the packages of two checkouts apart by nothing, and
# whether what was built is still good by the time of a source. So it is left out which of ours were
# built (.fingerprint/NAME-HASH).
set -u

dir=$1
userspace=$(dirname "$0")
[ ! -e "$dir" ] || exit 0
beside=$(dirname "$dir")
from=
most=0
for one in "$beside"/*/; do
	one=${one%/}
	case $one in *.part) continue ;; esac
	count=$(ls -d "$one"/*/.fingerprint/* "$one"/*/*/.fingerprint/* 2>/dev/null | wc -l)
	if [ "$count" -gt "$most" ]; then
		from=$one
		most=$count
	fi
done
[ -n "$from" ] || exit 0
# What an earlier call for this directory has left that was killed.
rm -rf "$dir".*.part
part=$(mktemp -d "$dir.XXXXXX.part") || exit 0
trap 'rm -rf "$part"' EXIT
trap 'exit 1' HUP INT TERM
echo "cargo: taking the crates of others from an earlier checkout's $from" >&2

# Tells that it is a cache, as cargo does where it makes the directory.
tag() {
	printf '%s\n' "Signature: 8a477f597d28d172789f06886806bc55" >"$part/CACHEDIR.TAG"
}

# copy FROM: a profile's directory of the other one, or a target's. What says that a crate was built comes
# first: whoever is building there meanwhile writes it last.
copy() {
	to=$part/${1#"$from"/}
	mkdir -p "$to" && cp -a "$1/.fingerprint" "$to/" || return 1
	for name in $ours; do
		# Also what only begins so: it is built once more than needed.
		rm -rf "$to/.fingerprint/$name"-*
	done
	for more in build deps; do
		[ ! -d "$1/$more" ] || cp -a "$1/$more" "$to/" || return 1
	done
	for name in $ours; do
		rm -rf "$to/build/$name"-*
		name=$(printf %s "$name" | tr - _)
		rm -rf "$to/deps/$name"-* "$to/deps/lib$name"-*
	done
}

ours=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$userspace"/*/Cargo.toml "$userspace"/../src/engine/Cargo.toml)
for built in "$from"/*/.fingerprint "$from"/*/*/.fingerprint; do
	[ -d "$built" ] || continue
	# Files of a compiler that is at work there come and go: then another time.
	copy "$(dirname "$built")" 2>/dev/null || exit 0
done
tag
# Another make may have been first.
mv -T "$part" "$dir" 2>/dev/null || :
