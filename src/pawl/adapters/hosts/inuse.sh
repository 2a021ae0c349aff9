# What a host's Kubernetes components are started with. Prints "key<TAB>value..." lines, files as
# base64. Reads only. Of files with secrets only the words that name kinds and providers leave the
# host, of an environment only KUBE_ variables that are no secret.
# usage: sh -s -- first COMPONENT UNIT FLAGS_FILE [COMPONENT UNIT FLAGS_FILE]...
#        sh -s -- files MODE PID PATH [MODE PID PATH]...      MODE: plain, secret, directory
LC_ALL=C
export LC_ALL
largest=262144
tab='	'
say() { printf '%s' "$1"; shift; for v in "$@"; do printf '\t%s' "$v"; done; printf '\n'; }
why_not() { # PATH: prints why it cannot be read, nothing when it can
	[ -e "$1" ] || { echo "it is not there"; return; }
	[ -f "$1" ] || { echo "it is no file"; return; }
	[ -r "$1" ] || { echo "permission denied"; return; }
	[ "$(wc -c <"$1")" -le $largest ] || echo "it is larger than $largest bytes"
}
put() { # KIND NAME PATH: a file that may be absent
	[ -e "$3" ] || return 0
	why=$(why_not "$3")
	if [ -n "$why" ]; then say unread "$3" "$why"; else say file "$1" "$2" "$3" "$(base64 <"$3" | tr -d '\n')"; fi
}

names='kube-apiserver|kube-controller-manager|kube-scheduler|cloud-controller-manager|kubelet|kube-proxy'

processes() {
	grep -lzE "(^|/)($names)\$" /proc/[0-9]*/cmdline 2>/dev/null | while IFS= read -r file; do
		pid=${file#/proc/}
		pid=${pid%/cmdline}
		name=$(tr '\0' '\n' <"$file" 2>/dev/null | sed -n '1s|.*/||;1p')
		printf '%s\n' "$name" | grep -qxE "$names" || continue
		say process "$name" "$pid" "$(base64 <"$file" 2>/dev/null | tr -d '\n')"
		tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -E '^KUBE_[A-Z_]*=' |
			grep -vE '^[A-Z_]*(TOKEN|SECRET|PASSWORD|KEY|ARGS|OPTS)' |
			while IFS= read -r variable; do say variable "$name" "$pid" "$(printf '%s' "$variable" | base64 | tr -d '\n')"; done
	done
}

first() {
	command -v containerd >/dev/null 2>&1 && say runtime containerd "$(containerd --version 2>/dev/null)"
	command -v crio >/dev/null 2>&1 && say runtime cri-o "$(crio --version 2>/dev/null | head -n 1)"
	case $(cat /sys/fs/selinux/enforce 2>/dev/null) in
	1) say selinux enforcing ;;
	0) say selinux permissive ;;
	*) if [ -e /sys/fs/selinux/enforce ]; then say unread /sys/fs/selinux/enforce "it cannot be read"; else say selinux disabled; fi ;;
	esac
	for manifest in /etc/kubernetes/manifests/*; do put manifest - "$manifest"; done
	[ ! -d /etc/kubernetes/manifests ] || [ -r /etc/kubernetes/manifests ] ||
		say unread /etc/kubernetes/manifests "permission denied"
	while [ $# -ge 3 ]; do
		component=$1 unit=$2 flags=$3
		shift 3
		systemctl show -p LoadState -p FragmentPath -p DropInPaths -p EnvironmentFiles -- "$unit" 2>/dev/null |
			while IFS= read -r line; do
				case $line in
				LoadState=*) [ "$line" = LoadState=loaded ] || break ;;
				FragmentPath=?*) put fragment "$component" "${line#*=}" ;;
				DropInPaths=?*) for path in ${line#*=}; do put fragment "$component" "$path"; done ;;
				EnvironmentFiles=?*)
					path=${line#*=}
					put environment "$component" "${path%% (*}"
					;;
				esac
			done
		put flags "$component" "$flags"
	done
	processes
	say end
}

files() {
	number=0
	own=$(readlink /proc/self/ns/mnt)
	while [ $# -ge 3 ]; do
		mode=$1 pid=$2 path=$3 root=
		shift 3
		# A component in a container names files of its own file system.
		if [ "$pid" -gt 0 ] && [ "$(readlink "/proc/$pid/ns/mnt" 2>/dev/null)" != "$own" ] && [ -d "/proc/$pid/root/" ]; then
			root=/proc/$pid/root
		fi
		if [ "$mode" = directory ]; then
			if [ ! -d "$root$path" ]; then
				say missing "$number" "it is not there"
			else
				find "$root$path" -name '*.conf' -type f 2>/dev/null | sort | while IFS= read -r one; do
					why=$(why_not "$one")
					if [ -n "$why" ]; then say unread "$one" "$why"; else say member "$number" "${one#"$root"}" "$(base64 <"$one" | tr -d '\n')"; fi
				done
			fi
		else
			why=$(why_not "$root$path")
			if [ -n "$why" ]; then
				say missing "$number" "$why"
			elif [ "$mode" = secret ]; then
				say hits "$number" "$(grep -noE '"?(apiVersion|kind)"?[[:space:]]*:[[:space:]]*"?[A-Za-z0-9./-]+|"?(identity|aescbc|aesgcm|secretbox|kms)"?[[:space:]]*:' "$root$path" | base64 | tr -d '\n')"
			else
				say got "$number" "$(base64 <"$root$path" | tr -d '\n')"
			fi
		fi
		number=$((number + 1))
	done
	say end
}

what=$1
shift
case $what in
first) first "$@" ;;
files) files "$@" ;;
esac
