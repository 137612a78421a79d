#!/bin/sh
# Writes .env for compose.yaml: every line of env.example that .env lacks, empty values drawn at random (192 bits).
# Run it again after an update: what is there is never changed.
set -eu
umask 077

here=$(dirname "$0")
out="${1:-$here/../../.env}"

touch "$out"
while IFS= read -r line; do
  case "$line" in
    "" | "#"*) continue ;;
  esac
  name=${line%%=*}
  value=${line#*=}
  if ! grep -q "^$name=" "$out"; then
    [ -n "$value" ] || value=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s=%s\n' "$name" "$value" >> "$out"
  fi
done < "$here/env.example"
echo "Secrets are in $out; next: docker compose up --detach --build --wait"
