#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Prints TAP: a checkout's build directory that was made from another one's (userspace/seed.sh). Two
# checkouts of a small workspace, which differ in what its program prints, and the second one's
# sources are older than what was built of the first. Begins in userspace/, as tests of the host do.
set -u

seed=$PWD/seed.sh
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET RUSTFLAGS
count=0
failed=0

# result STATUS NAME
result() {
	count=$((count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $count - $2"
	else
		echo "not ok $count - $2"
		failed=1
	fi
}

# checkout NAME: one that prints NAME. The crate `other` is outside it, as those of others are.
checkout() {
	mkdir -p "$top/$1/userspace/one/src" "$top/$1/src/engine"
	cp "$seed" "$top/$1/userspace/"
	cat >"$top/$1/userspace/Cargo.toml" <<-END
		[workspace]
		members = ["one"]
		resolver = "3"
	END
	cat >"$top/$1/userspace/one/Cargo.toml" <<-END
		[package]
		name = "one"
		version = "0.1.0"
		edition = "2021"
		[dependencies]
		other = { path = "$top/other" }
	END
	: >"$top/$1/src/engine/Cargo.toml"
	echo "fn main() { println!(\"$1\"); other::nothing() }" >"$top/$1/userspace/one/src/main.rs"
}

# in_checkout NAME ARGUMENT…: its cargo, with a build directory of its own.
in_checkout() {
	(
		cd "$top/$1/userspace" || exit 1
		export CARGO_BUILD_BUILD_DIR="$top/cache/$1" CARGO_TARGET_DIR="$top/$1/target"
		shift
		cargo "$@" --offline 2>"$top/said"
	)
}

mkdir -p "$top/other/src"
printf '[package]\nname = "other"\nversion = "0.1.0"\nedition = "2021"\n' >"$top/other/Cargo.toml"
echo 'pub fn nothing() {}' >"$top/other/src/lib.rs"
checkout second
checkout first

"$top/first/userspace/seed.sh" "$top/cache/first" 2>/dev/null && [ ! -e "$top/cache/first" ]
result $? "where there is nothing to take nothing is made"

[ "$(in_checkout first run)" = first ]
result $? "the first checkout runs its own program"
if [ ! -d "$top/cache/first" ]; then
	echo "ok 3 - the rest # SKIP this cargo keeps what it builds in the checkout (1.91 has build-dir)"
	echo "1..3"
	exit $failed
fi

# The twin: with what says that ours were built, too.
cp -a "$top/cache/first" "$top/cache/second"
[ "$(in_checkout second run)" = first ]
result $? "with all of the other's directory cargo runs the other's program: the danger is there"
rm -rf "$top/cache/second" "$top/second/target"

"$top/second/userspace/seed.sh" "$top/cache/second" 2>/dev/null
result $? "the second checkout takes what is there"
[ "$(in_checkout second run)" = second ]
result $? "it runs its own program"
! grep -q "Compiling other" "$top/said" && grep -q "Compiling one" "$top/said"
result $? "the crate of others was not compiled again, its own was"

# A build that was taken is one to take from.
checkout third
rm -rf "$top/cache/first"
"$top/third/userspace/seed.sh" "$top/cache/third" 2>/dev/null
[ "$(in_checkout third run)" = third ] && ! grep -q "Compiling other" "$top/said"
result $? "a third checkout takes them from the second one, though the first one's are gone"

# What can not be copied is no reason to fail.
checkout fourth
mkdir -p "$top/closed/first/debug/.fingerprint/other-1"
mkdir "$top/bin"
printf '#!/bin/sh\nexit 1\n' >"$top/bin/cp"
chmod +x "$top/bin/cp"
PATH=$top/bin:$PATH "$top/fourth/userspace/seed.sh" "$top/closed/fourth" 2>/dev/null &&
	[ ! -e "$top/closed/fourth" ] && [ -z "$(find "$top/closed" -name '*.part')" ]
result $? "where nothing can be copied nothing is made, and it is no error"

touch "$top/cache/second/mark"
"$top/second/userspace/seed.sh" "$top/cache/second" 2>/dev/null && [ -e "$top/cache/second/mark" ]
result $? "a directory that is there is left alone"
[ -z "$(find "$top/cache" -name '*.part')" ]
result $? "nothing is left half made"
echo "1..$count"
exit $failed
