#!/bin/sh
# A tool that changes files, under its own name: nothing outside the device's folder is touched.
tool=${0##*/}
exists=
for word; do
  case "$word" in
    -*) continue ;;
    /*) path=$word ;;
    *) path=$PWD/$word ;;
  esac
  case "$path/" in */../*) path=$(realpath -m "$path") ;; esac
  case "$path/" in
    "$FAKE_ROOT"/*) ;;
    *) echo "$tool: '$word': Permission denied" >&2; exit 1 ;;
  esac
  [ -e "$path" ] && exists=yes
  last=$word
done
if [ -e "$FAKE_STATE/read_only" ] && { [ "$tool" != rm ] || [ "$exists" ]; }; then
  echo "$tool: '$last': Read-only file system" >&2
  exit 1
fi
exec "$FAKE_HOST_TOOLS/$tool" "$@"
