#!/bin/sh
# run_elf PROGRAM FLAGS: stands in for the device's processor.
if [ ! -e "$1" ]; then
  echo "/system/bin/sh: $1: inaccessible or not found" >&2
  exit 127
fi
if [ ! -x "$1" ]; then
  echo "/system/bin/sh: $1: can't execute: Permission denied" >&2
  exit 126
fi
machine=$(od -An -tu2 -j18 -N2 "$1")
if [ $machine != "$FAKE_MACHINE" ]; then
  echo "/system/bin/sh: $1: not executable: 64-bit ELF file" >&2
  exit 126
fi
exec "$FAKE_PYTHON" -I -S "$FAKE_STUB" "$@"
