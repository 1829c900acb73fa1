#!/bin/sh
# dumpsys SERVICE: the device writes what its services say before each command.
if [ -f "$FAKE_STATE/dumpsys.$1" ]; then
  exec cat "$FAKE_STATE/dumpsys.$1"
fi
echo "Can't find service: $1" >&2
