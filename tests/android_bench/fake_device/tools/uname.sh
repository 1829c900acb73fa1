#!/bin/sh
# uname [-m|-r|-a]
case "$1" in
  -m) echo "$FAKE_UNAME" ;;
  -r) echo 5.15.123-android13-8 ;;
  -a) echo "Linux localhost 5.15.123-android13-8 #1 SMP PREEMPT $FAKE_UNAME Toybox" ;;
  *) echo Linux ;;
esac
