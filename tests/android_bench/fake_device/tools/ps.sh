#!/bin/sh
# ps [-A ...], pidof NAME, pgrep -f PATTERN: this device's programs, without the shells that ask.
# pkill is left out.
tool=${0##*/}
[ "$tool" = ps ] && echo "USER           PID CMDLINE"
for last; do :; done
status=1
for environ in $(grep -lsz "^FAKE_PHONE=$FAKE_PHONE\$" /proc/[0-9]*/environ); do
  pid=${environ#/proc/}
  pid=${pid%/environ}
  line=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") || continue
  case "$line" in '' | "/system/bin/sh -c kill() "* | *"/$tool "*) continue ;; esac
  case "$tool" in
    ps) printf '%-9s %8d %s\n' shell "$pid" "$line" ;;
    pidof) case "$line" in *"/$last "*) printf '%s ' "$pid" ;; *) continue ;; esac ;;
    pgrep) case "$line" in *"$last"*) echo "$pid" ;; *) continue ;; esac ;;
  esac
  status=0
done
[ "$tool" = pidof ] && [ $status = 0 ] && echo
exit $status
