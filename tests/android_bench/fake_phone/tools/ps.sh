#!/bin/sh
# ps [-A ...], pidof NAME, pgrep [-f] PATTERN: this phone's processes. pkill is left out.
tool=${0##*/}
[ "$tool" = ps ] && echo "USER           PID CMDLINE"
status=1
for environ in $(grep -lsz "^FAKE_PHONE=$FAKE_PHONE\$" /proc/[0-9]*/environ); do
  pid=${environ#/proc/}
  pid=${pid%/environ}
  line=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") || continue
  case "$line" in '' | *"$FAKE_STATE/../root/system/bin/$tool"* | *"/$tool "*) continue ;; esac
  for last; do :; done
  case "$tool" in
    ps) printf '%-9s %8d %s\n' shell "$pid" "$line"; status=0 ;;
    pidof) case "$line" in *"/$1 "*) printf '%s ' "$pid"; status=0 ;; esac ;;
    pgrep) case "$line" in *"$last"*) echo "$pid"; status=0 ;; esac ;;
  esac
done
[ "$tool" = pidof ] && [ $status = 0 ] && echo
exit $status
