#!/bin/sh
echo 8
