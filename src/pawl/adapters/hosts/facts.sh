# Everything pawl reads from a host, in one command. Prints "key<TAB>value..." lines; large or
# odd values as base64. Reads public files only: of a file that also holds a key, the certificate
# blocks alone. Needs nothing but a POSIX shell, coreutils, sed and systemctl.
# usage: sh -s -- ROOT EPOCH_FILE DISKS CERTIFICATES ETCD_DATA COMPONENT UNIT FLAGS_FILE [COMPONENT ...]
# DISKS: paths with a colon between, "" for none. CERTIFICATES: yes, or no to leave them out, which
# spares the host most of the work.
LC_ALL=C
export LC_ALL
tab='	'
say() { printf '%s' "$1"; shift; for v in "$@"; do printf '\t%s' "$v"; done; printf '\n'; }
root=$1 epoch=$2 disks=$3 certificates=$4 etcd_data=$5
shift 5

say clock "$(date +%s.%N)"
say machine-id "$(cat /etc/machine-id 2>/dev/null)"
say boot-id "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
say kernel "$(uname -r)"
case $(stat -fc %T /sys/fs/cgroup 2>/dev/null) in
cgroup2fs) say cgroup 2 ;;
tmpfs) say cgroup 1 ;;
esac
say epoch "$(cat -- "$epoch" 2>/dev/null || echo 0)"
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

units=''
while [ $# -ge 3 ]; do
	component=$1 unit=$2 flags=$3
	shift 3
	units="$units $unit"
	# Inode and birth of the member's data: the same for as long as it is the same disk.
	[ "$component" = etcd ] && say etcd-data "$(stat -c %i.%W -- "$etcd_data/member" 2>/dev/null)"
	[ -L "$root/$component/current" ] && say current "$component" "$(readlink -- "$root/$component/current")"
	for version in "$root/$component"/*/; do
		[ -d "$version" ] || continue
		version=${version%/}
		version=${version##*/}
		[ "$version" = current ] || say staged "$component" "$version"
	done
	[ -r "$flags" ] || continue
	say flags "$component" "$(base64 <"$flags" | tr -d '\n')"
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

[ -n "$units" ] || {
	say end
	exit 0
}
# shellcheck disable=SC2086
systemctl show --timestamp=unix -p Id -p LoadState -p ActiveState -p NRestarts -p StateChangeTimestamp -p MainPID -- $units 2>/dev/null |
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
