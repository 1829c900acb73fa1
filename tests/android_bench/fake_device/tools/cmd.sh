#!/bin/sh
# cmd SERVICE ...: no service takes commands.
echo "cmd: Can't find service: $1" >&2
exit 20
