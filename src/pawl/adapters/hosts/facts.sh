# Everything pawl reads from a host, in one command. Prints "key<TAB>value..." lines; certificates as
# base64. Builtins wherever there is one: a wait reads this many times, and a fork costs a host 1 ms. Reads public files only: of a file that also holds a key, the certificate
# blocks alone. Needs nothing but a POSIX shell, coreutils, sed, find and systemctl.
# usage: sh -s -- ROOT EPOCH_FILE DISKS CERTIFICATES ETCD_DATA COMPONENT UNIT FLAGS_FILE [COMPONENT ...]
# DISKS: paths with a colon between, "" for none. CERTIFICATES: yes, or no to leave them out, which
# spares the host most of the work.
LC_ALL=C
export LC_ALL
tab='	'
say() { printf '%s' "$1"; shift; for v in "$@"; do printf '\t%s' "$v"; done; printf '\n'; }
root=$1 epoch=$2 disks=$3 certificates=$4 etcd_data=$5
shift 5

first_line() { # KEY FILE DEFAULT
	line=$3
	[ -r "$2" ] && read -r line <"$2"
	say "$1" "$line"
}

say clock "$(date +%s.%N)"
first_line machine-id /etc/machine-id ''
first_line boot-id /proc/sys/kernel/random/boot_id ''
first_line kernel /proc/sys/kernel/osrelease ''
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	say cgroup 2
elif [ -d /sys/fs/cgroup/memory ]; then
	say cgroup 1
fi
first_line epoch "$epoch" 0
old_ifs=$IFS
IFS=:
for disk in $disks; do
	[ -e "$disk" ] && say disk "$disk" "$(df -PB1 -- "$disk" 2>/dev/null | sed -n '2s/  */ /gp' | cut -d' ' -f4)"
done
IFS=$old_ifs

certificate() { # PATH
	[ -r "$1" ] || return 0
	say certificate "$1" "$(sed -n '/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p' "$1" | base64 | tr -d '\n')"
}
kubeconfig() { # PATH
	[ -r "$1" ] || return 0
	# YAML or JSON: without quotes and commas both read the same, a line at a time.
	tr -d "\"'," <"$1" | sed -n 's/^[ -]*client-certificate: *//p; s/^[ -]*certificate-authority: *//p' |
		while read -r path; do
			case $path in /*) ;; *) path=$(dirname -- "$1")/$path ;; esac
			certificate "$path"
		done
	tr -d "\"'," <"$1" | sed -n 's/^[ -]*client-certificate-data: *//p; s/^[ -]*certificate-authority-data: *//p' |
		while read -r data; do say certificate "$1" "$data"; done
}

units='' links=''
while [ $# -ge 3 ]; do
	component=$1 unit=$2 flags=$3
	shift 3
	units="$units $unit"
	# Inode and birth of the member's data: the same for as long as it is the same disk.
	[ "$component" = etcd ] && say etcd-data "$(stat -c %i.%W -- "$etcd_data/member" 2>/dev/null)"
	[ -L "$root/$component/current" ] && links="$links $root/$component/current"
	for version in "$root/$component"/*/; do
		[ -d "$version" ] || continue
		version=${version%/}
		version=${version##*/}
		[ "$version" = current ] || say staged "$component" "$version"
	done
	[ -r "$flags" ] || continue
	say flags "$component" ''
	while IFS= read -r line || [ -n "$line" ]; do
		say flags "$component" "$line"
	done <"$flags"
	[ "$certificates" = yes ] || continue
	# Paths of certificates and kubeconfigs are named by the flags themselves.
	tr ' "' '\n\n' <"$flags" | tr -d "'" | sed -n "s/^[A-Za-z_]*=--/--/; s/^--\\([a-z-]*\\)=\\(\\/.*\\)/\\1$tab\\2/p" |
		while IFS=$tab read -r name path; do
			case $name in
			*kubeconfig) kubeconfig "$path" ;;
			config)
				tr -d "\"'," 2>/dev/null <"$path" | sed -n 's/^ *tlsCertFile: *//p; s/^ *clientCAFile: *//p; s/^ *kubeconfig: *//p' |
					while read -r named; do
						case $named in *.kubeconfig | *.conf) kubeconfig "$named" ;; *) certificate "$named" ;; esac
					done
				;;
			cert-dir)
				for named in kubelet-client-current.pem kubelet-server-current.pem kubelet.crt apiserver.crt; do
					certificate "$path/$named"
				done
				;;
			*-key-file | *keyfile | *signing-key-file | *private-key-file | *-key) ;;
			*cert-file | *certfile | *ca-file | *cafile | *client-certificate | *certificate-authority | *root-ca-file) certificate "$path" ;;
			esac
		done
done

# shellcheck disable=SC2086
[ -z "$links" ] || find $links -maxdepth 0 -type l -printf 'current\t%h\t%l\n'
[ -n "$units" ] || {
	say end
	exit 0
}
# shellcheck disable=SC2086
shown=$(systemctl show --timestamp=unix -p Id -p LoadState -p ActiveState -p NRestarts -p StateChangeTimestamp -p MainPID -- $units 2>/dev/null) || {
	echo "its systemd does not answer" >&2
	exit 0
}
# Where a unit is down it matters whether the whole host is: then that says nothing of the unit.
case $shown in
*ActiveState=inactive* | *ActiveState=deactivating* | *ActiveState=failed*)
	[ "$(systemctl is-system-running 2>/dev/null)" != stopping ] || {
		echo "it is going down" >&2
		exit 0
	}
	;;
esac
printf '%s\n' "$shown" |
	{
		unit_line() {
			[ "$load" = loaded ] || return 0
			exe=
			[ "${pid:-0}" -gt 0 ] && exe=$(readlink "/proc/$pid/exe")
			say unit "$id" "$active" "${restarts:-0}" "${since#@}" "$exe"
		}
		id='' load='' active='' restarts='' since='' pid=''
		while IFS= read -r line; do
			case $line in
			'') unit_line; id='' load='' active='' restarts='' since='' pid='' ;;
			Id=*) id=${line#*=} ;;
			LoadState=*) load=${line#*=} ;;
			ActiveState=*) active=${line#*=} ;;
			NRestarts=*) restarts=${line#*=} ;;
			StateChangeTimestamp=*) since=${line#*=} ;;
			MainPID=*) pid=${line#*=} ;;
			esac
		done
		unit_line
	}
say end
