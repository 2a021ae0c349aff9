# Programs of pods on this host, for pawl's inventory: "pid<TAB>pod-uid<TAB>executable" lines.
# Reads only. The pod's UID stands in its cgroup's path, with - (cgroupfs) or _ (systemd).
# usage: sh -s -- PROC MOST UID [UID]...
proc=$1 most=$2
shift 2
count=0
for directory in "$proc"/[0-9]*; do
	group=$(cat "$directory/cgroup" 2>/dev/null) || continue
	case $group in
	*pod*) ;;
	*) continue ;;
	esac
	for uid in "$@"; do
		under=$(printf %s "$uid" | tr - _)
		case $group in
		*pod"$uid"* | *pod"$under"*)
			executable=$(readlink "$directory/exe" 2>/dev/null) || break
			printf '%s\t%s\t%s\n' "${directory##*/}" "$uid" "$executable"
			count=$((count + 1))
			[ "$count" -lt "$most" ] || exit 0
			break
			;;
		esac
	done
done
exit 0
