# Records of an audit log that hold one of some strings, newest file first, for pawl's scan.
# Reads only, at the lowest priority, no more than MOST records of a file. Prints "#file<TAB>NAME",
# the file's first record as "#first<TAB>RECORD", its last one likewise, then the records that match;
# "#unread<TAB>NAME" for what cannot be read, and "#end".
# usage: sh -s -- LOG DAYS MOST -e STRING [-e STRING]...
LC_ALL=C
export LC_ALL
log=$1 days=$2 most=$3
shift 3
renice -n 19 -p $$ >/dev/null 2>&1

case $log in
*.*) stem=${log%.*} end=.${log##*.} ;;
*) stem=$log end='' ;;
esac
# kube-apiserver rotates FILE.log to FILE-<time>.log, and to .log.gz with --audit-log-compress.
{
	printf '%s\n' "$log"
	find "${log%/*}" -maxdepth 1 -type f -mtime "-$days" \
		\( -name "${stem##*/}-*$end" -o -name "${stem##*/}-*$end.gz" \) | sort -r
} | while read -r file; do
	if [ ! -r "$file" ]; then
		printf '#unread\t%s\n' "$file"
		continue
	fi
	printf '#file\t%s\n' "$file"
	case $file in
	*.gz)
		printf '#first\t%s\n' "$(gzip -dc -- "$file" 2>/dev/null | head -n 1 | head -c 65536)"
		gzip -dc -- "$file" | grep -aF -m "$most" "$@"
		;;
	*)
		printf '#first\t%s\n' "$(head -n 1 -- "$file" | head -c 65536)"
		printf '#last\t%s\n' "$(tail -n 1 -- "$file" | head -c 65536)"
		grep -aF -m "$most" "$@" -- "$file"
		;;
	esac
done
printf '#end\n'
