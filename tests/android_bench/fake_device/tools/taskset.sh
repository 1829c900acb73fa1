#!/bin/sh
# taskset MASK COMMAND...: the processors are not the host's, so the mask is only noted.
case "$1" in
  '' | *[!0-9a-fA-F]*) echo "taskset: bad mask '$1'" >&2; exit 1 ;;
esac
FAKE_AFFINITY=$1
export FAKE_AFFINITY
shift
exec "$@"
