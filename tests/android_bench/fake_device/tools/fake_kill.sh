#!/bin/sh
# kill [-SIGNAL] PID...: only processes of this device.
for word; do
  case "$word" in
    -s | -l | --) continue ;;
    -[0-9]*) [ "$word" = "$1" ] && continue; pid=${word#-} ;;
    [0-9]*) pid=$word ;;
    *) continue ;;
  esac
  if ! grep -qz "^FAKE_PHONE=$FAKE_PHONE\$" "/proc/$pid/environ" 2>/dev/null; then
    echo "/system/bin/sh: kill: $word: No such process" >&2
    exit 1
  fi
done
kill "$@"
