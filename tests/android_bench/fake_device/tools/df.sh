#!/bin/sh
# df [-k] [PATH]: every path lies on the same partition.
exec cat "$FAKE_STATE/df"
