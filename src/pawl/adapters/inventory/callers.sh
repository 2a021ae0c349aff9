# Who called the API, folded on the host out of its audit log and the files rotated in the last DAYS.
# Reads only, at the lowest priority, for at most SECONDS. Prints "C<TAB>user<TAB>agent<TAB>count<TAB>
# last" and "D<TAB>user<TAB>agent<TAB>api<TAB>removed" lines, "U<TAB>file" for what cannot be read,
# and "E" at the end.
# usage: sh -s -- LOG DAYS SECONDS
LC_ALL=C
export LC_ALL
log=$1 days=$2 seconds=$3
case $log in
*.*) stem=${log%.*} end=.${log##*.} ;;
*) stem=$log end='' ;;
esac
{
	printf '%s\n' "$log"
	find "${log%/*}" -maxdepth 1 -type f -mtime "-$days" \
		\( -name "${stem##*/}-*$end" -o -name "${stem##*/}-*$end.gz" \) 2>/dev/null | sort -r
} | while read -r file; do
	if [ ! -r "$file" ]; then
		printf 'U\t%s\n' "$file"
		continue
	fi
	case $file in
	*.gz) set -- gzip -dc -- "$file" ;;
	*) set -- cat -- "$file" ;;
	esac
	timeout "$seconds" nice -n 19 "$@" | timeout "$seconds" nice -n 19 awk '
function cut(text, key,    at, end) {
	at = index(text, key)
	if (!at) return ""
	text = substr(text, at + length(key))
	end = index(text, "\"")
	return end ? substr(text, 1, end - 1) : ""
}
index($0, "\"stage\":\"RequestReceived\"") { next }
{
	user = cut($0, "\"user\":{\"username\":\"")
	if (user == "") next
	key = user "\t" substr(cut($0, "\"userAgent\":\""), 1, 200)
	count[key]++
	time = cut($0, "\"requestReceivedTimestamp\":\"")
	if (time > last[key]) last[key] = time
	if (index($0, "\"k8s.io/deprecated\":\"true\"")) {
		at = index($0, "\"objectRef\":{")
		if (!at) next
		ref = substr($0, at, 600)
		group = cut(ref, "\"apiGroup\":\"")
		api = (group == "" ? "" : group "/") cut(ref, "\"apiVersion\":\"") "/" cut(ref, "\"resource\":\"")
		removed[key "\t" api] = cut($0, "\"k8s.io/removed-release\":\"")
	}
}
END {
	for (key in count) print "C\t" key "\t" count[key] "\t" last[key]
	for (key in removed) print "D\t" key "\t" removed[key]
}'
	[ $? -eq 0 ] || printf 'U\t%s\n' "$file"
done
printf 'E\n'
