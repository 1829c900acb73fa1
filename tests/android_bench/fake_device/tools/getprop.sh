#!/bin/sh
# getprop [NAME [DEFAULT]]: a property that is not set is an empty line.
if [ $# -eq 0 ]; then
  exec sed 's/^\([^=]*\)=\(.*\)$/[\1]: [\2]/' "$FAKE_STATE/properties"
fi
value=$(sed -n "s/^$1=//p" "$FAKE_STATE/properties")
echo "${value:-$2}"
