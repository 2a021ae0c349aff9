#!/bin/sh
# pawl's guard: every change on this host goes through here, under one lock, with the operator's
# epoch compared to the highest one ever accepted. An operator that was paused, or has a twin,
# holds a lower epoch and can do nothing more. Nothing here is built from data: each verb takes
# plain arguments. Exit codes: 0 done, 64 usage, 69 nobody answers at a socket, 74 the effect
# failed, 75 try again, 77 fenced, 78 a needed tool is missing.
#
# usage: guard EPOCH_FILE EPOCH SECONDS VERB [ARG...]
# SECONDS: how long to wait for the lock. Less than who called waits for the answer: what nobody
# waits for any more must not happen later.
set -eu
umask 022
LC_ALL=C
export LC_ALL
epoch_file=$1 epoch=$2 seconds=$3 verb=$4
shift 4

fail() { code=$1; shift; echo "$*" >&2; exit "$code"; }
flush() { sync -- "$@" 2>/dev/null || sync; }
digest() { sha256sum <"$1" | cut -d' ' -f1; }

# install_file DESTINATION TEMPORARY: rename in, keeping owner and mode of what was there.
install_file() {
	if [ -e "$1" ]; then
		chown --reference="$1" "$2"
		chmod --reference="$1" "$2"
	else
		chmod 0644 "$2"
	fi
	flush "$2"
	mv -f -- "$2" "$1"
	flush "$(dirname -- "$1")"
}

# order VERB UNIT: a systemd that is going down refuses, or does not answer; that says nothing of the
# unit, and whoever asks again after the reboot gets an answer.
order() {
	said=$(systemctl "$1" --no-block -- "$2" 2>&1) && return
	case $(systemctl is-system-running 2>/dev/null) in
	stopping | offline | unknown | '') fail 75 "the host is going down, or its systemd does not answer" ;;
	esac
	case $said in
	*'timed out'* | *'did not receive a reply'* | *'Did not receive a reply'* | *'onnection reset'*)
		fail 75 "its systemd does not answer: $said" ;;
	esac
	fail 74 "systemctl $1 failed: $said"
}

case $epoch in '' | *[!0-9]*) fail 64 "the epoch must be a number" ;; esac
mkdir -p -- "$(dirname -- "$epoch_file")"
exec 9>>"$epoch_file.lock"
flock -w "$seconds" 9 || fail 75 "another operator is at work on this host"

seen=0
[ ! -e "$epoch_file" ] || seen=$(cat -- "$epoch_file") || fail 74 "$epoch_file cannot be read"
case $seen in '' | *[!0-9]*) fail 74 "$epoch_file does not hold a number" ;; esac
[ "$epoch" -ge "$seen" ] || fail 77 "epoch $epoch is behind $seen"
if [ "$epoch" -gt "$seen" ]; then
	echo "$epoch" >"$epoch_file.new"
	flush "$epoch_file.new"
	mv -f -- "$epoch_file.new" "$epoch_file"
	flush "$(dirname -- "$epoch_file")"
fi

case $verb in
claim) ;;
commit) # UPLOADED FINAL: SHA-256 list on stdin; verify, flush, rename in beside the others
	uploaded=$1 final=$2
	sums=$(cat)
	if [ -d "$uploaded" ]; then
		cd -- "$uploaded"
		printf '%s\n' "$sums" | sha256sum -c --strict --quiet >&2 || fail 74 "a checksum is wrong"
		chmod 0755 -- *
		flush ./*
		cd /
		if [ -d "$final" ]; then
			# The same version again (a repair): the files are swapped in one by one.
			for file in "$uploaded"/*; do mv -f -- "$file" "$final/"; done
			rm -rf -- "$uploaded"
		else
			mv -- "$uploaded" "$final"
		fi
		flush "$(dirname -- "$final")"
	else # committed before, and the answer was lost
		cd -- "$final" && printf '%s\n' "$sums" | sha256sum -c --strict --quiet >&2 ||
			fail 74 "a checksum is wrong"
	fi
	;;
switch) # DIRECTORY VERSION: point DIRECTORY/current at VERSION by one rename
	[ -d "$1/$2" ] || fail 74 "$1/$2 does not exist"
	[ "$(readlink -- "$1/current" || true)" = "$2" ] && exit 0
	ln -sfn -- "$2" "$1/.current.pawl"
	mv -T -f -- "$1/.current.pawl" "$1/current"
	flush "$1"
	;;
write) # FILE OLD NEW: replace FILE by stdin if its content has the SHA-256 OLD, and stdin has NEW
	now=absent
	[ ! -e "$1" ] || now=$(digest "$1")
	[ "$now" = "$2" ] || fail 75 "$1 was changed by somebody else meanwhile"
	mkdir -p -- "$(dirname -- "$1")"
	rm -f -- "$1.pawl"
	(umask 077 && cat >"$1.pawl")
	# A connection that breaks ends stdin as its end would.
	if [ "$(digest "$1.pawl")" != "$3" ]; then
		rm -f -- "$1.pawl"
		fail 75 "what is to stand in $1 did not arrive as a whole"
	fi
	install_file "$1" "$1.pawl"
	;;
stop) # UNIT: order the stop; who called waits, so that the lock is not held meanwhile
	order stop "$1"
	;;
start) # UNIT
	systemctl reset-failed -- "$1" 2>/dev/null || true
	order start "$1"
	;;
remove) # DIRECTORY: a throw-away one that pawl made
	case $1 in */pawl-* | */.pawl-*) rm -rf -- "$1" ;; *) fail 64 "$1 is not pawl's" ;; esac
	;;
sweep) # PREFIX: the throw-away directories of operators before this one, which died or lost the host
	for left in "$1"*; do
		case $left in *-"$epoch") ;; */pawl-* | */.pawl-*) rm -rf -- "$left" ;; esac
	done
	;;
socket) # SOCKET: one command from stdin to a unix socket, its answer to stdout
	command -v socat >/dev/null || fail 78 "socat is not installed"
	socat -t 5 - "UNIX-CONNECT:$1" 2>/dev/null || fail 69 "nobody listens there"
	;;
*) fail 64 "unknown verb $verb" ;;
esac
