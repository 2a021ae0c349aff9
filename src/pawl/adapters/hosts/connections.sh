# What this node knows of connections, each once: from conntrack, else from the socket tables of its
# network namespaces. The first line says which ("conntrack", "sockets" or "nothing").
once='!/UNREPLIED|SYN_SENT|SYN_RECV/ {
  a = b = p = ""
  for (i = 1; i <= NF; i++) {
    if ($i ~ /^src=/) { if (a == "") a = $i; else b = $i }
    else if ($i ~ /^dport=/ && p == "") p = $i
  }
  k = a " " p " " b
  if (b != "" && !(k in seen)) { seen[k] = 1; print k }
}'
if [ -r /proc/net/nf_conntrack ] && [ -s /proc/net/nf_conntrack ]; then
  echo conntrack
  awk "$once" /proc/net/nf_conntrack
  exit 0
fi
if command -v conntrack >/dev/null 2>&1 && table=$(conntrack -L 2>/dev/null) && [ -n "$table" ]; then
  echo conntrack
  printf '%s\n' "$table" | awk "$once"
  exit 0
fi
own=$(readlink /proc/self/ns/net) || { echo nothing; exit 0; }
echo sockets
seen=" $own "
for process in /proc/[0-9]*; do
  namespace=$(readlink "$process/ns/net" 2>/dev/null) || continue
  case "$seen" in *" $namespace "*) continue ;; esac
  seen="$seen$namespace "
  cat "$process/net/tcp" "$process/net/tcp6" 2>/dev/null
done
exit 0
