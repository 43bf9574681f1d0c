#!/usr/bin/env bash
# Installs what only the tests and runs need from Debian: Chromium, a Japanese font for it, curl.
set -euo pipefail

wanted=()
command -v chromium >/dev/null || wanted+=("chromium")
command -v curl >/dev/null || wanted+=("curl")
fc-list :lang=ja 2>/dev/null | grep -q . || wanted+=("fonts-ipafont-gothic")
[ ${#wanted[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends fontconfig "${wanted[@]}" >/dev/null
else
  printf '%s\n' "Missing Debian packages: ${wanted[*]}. Install them first: sudo apt-get install ${wanted[*]}" >&2
  exit 1
fi
