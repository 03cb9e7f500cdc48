#!/usr/bin/env bash
# redis-cli -c, unmodified, against three nodes whose base ports on 127.0.0.1 are $ANNULUS_PORTS: commands, topology, --scan,
# --cluster check|info|call, redis-benchmark --cluster, and a node that is killed with SIGKILL and started again by `annulus dev`,
# which is $ANNULUS_BINARY and runs the nodes in $ANNULUS_DIR.
#
# Run by `cargo xtask clients`. Every check prints what failed; the last line counts.
set -u
shopt -s extglob
IFS=, read -r -a ports <<<"${ANNULUS_PORTS:?}"
cores=${ANNULUS_CORES:?}
endpoints=$((${#ports[@]} * cores))
work=$(mktemp -d)
# shellcheck source=tools/clients/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

# cli PORT ARGUMENTS
cli() { timeout 60 redis-cli -c -h 127.0.0.1 -p "$@" 2>&1; }

# cluster check|info|call: asks every endpoint. That from which it learns of the others it knows by what it was given, so this
# is a core's port: on the base port it would count the keys of the whole cluster as that core's.
cluster() { timeout 60 redis-cli --cluster "$1" "127.0.0.1:$((ports[0] + 1))" "${@:2}" 2>&1; }

topology() {
  expect 'cluster check' '*All nodes agree about slots configuration*All 16384 slots covered*' "$(cluster check)"
  expect 'cluster call' "$endpoints" "$(cluster call ping | grep -c PONG)"
  local told port
  told=$(cli "${ports[0]}" cluster slots)
  for port in "${ports[@]}"; do
    expect "cluster slots of $port" "${told//\[/\\[}" "$(cli "$port" cluster slots)"
    expect "cluster nodes of $port" "$endpoints" "$(cli "$port" cluster nodes | grep -c ' connected ')"
    expect "cluster info of $port" '*cluster_state:ok*cluster_slots_ok:16384*' "$(cli "$port" cluster info)"
  done
}

commands() {
  local port other n core
  for port in "${ports[@]}"; do
    expect "set at $port" OK "$(cli "$port" set "cli-$port" 'two words')"
    expect "resp3 at $port" 'two words' "$(cli "$port" -3 get "cli-$port")"
    for other in "${ports[@]}"; do
      expect "set at $port, get at $other" 'two words' "$(cli "$other" get "cli-$port")"
    done
    expect "expiry at $port" '@(9[0-9]|100)' "$(cli "$port" set cli-e v ex 100 >/dev/null; cli "${ports[0]}" ttl cli-e)"
  done
  expect 'mset across slots' OK "$(cli "${ports[0]}" mset cli-a 1 cli-b 2 cli-c 3)"
  expect 'mget across slots' $'1\n2\n3' "$(cli "${ports[1]}" mget cli-a cli-b cli-c)"
  expect 'mget with a hash tag' $'x\nyy' "$(cli "${ports[1]}" mset '{cli}1' x '{cli}2' yy >/dev/null; cli "${ports[2]}" mget '{cli}1' '{cli}2')"
  expect 'del across slots' 3 "$(cli "${ports[2]}" del cli-a cli-b cli-c cli-none)"
  # On a core's port redis-cli is sent on by MOVED, once for each connection at most.
  for port in "${ports[@]}"; do
    for ((core = 1; core <= cores; core++)); do
      for n in 1 2 3 4; do
        expect "core $((port + core)), key $n" "*v$n" "$(cli $((port + core)) set "cli-core-$n" "v$n" >/dev/null; cli $((port + core)) get "cli-core-$n")"
      done
    done
  done
}

siblings() {
  local context
  cli "${ports[0]}" dyn.put cli-d milk >/dev/null
  cli "${ports[1]}" dyn.put cli-d bread context '' >/dev/null
  expect 'two siblings' $'bread\nmilk' "$(cli "${ports[2]}" dyn.get cli-d | tail -n +2)"
  context=$(cli "${ports[2]}" dyn.get cli-d | head -n 1)
  expect 'a context' '?*' "$context"
  cli "${ports[1]}" dyn.put cli-d milk,bread context "$context" >/dev/null
  expect 'one value again' milk,bread "$(cli "${ports[0]}" dyn.get cli-d | tail -n +2)"
}

scans() {
  local port core before
  before=$(cli "${ports[0]}" dbsize)
  for n in $(seq 1 500); do printf 'SET cli-scan-%s %s\r\n' "$n" "$n"; done | timeout 60 redis-cli -p "${ports[1]}" --pipe >"$work/pipe" 2>&1
  expect pipe '*errors: 0, replies: 500*' "$(cat "$work/pipe")"
  for port in "${ports[@]}"; do
    expect "scan of $port" 500 "$(cli "$port" --scan --pattern 'cli-scan-*' | sort -u | wc -l | tr -d ' ')"
    for ((core = 1; core <= cores; core++)); do cli $((port + core)) --scan --pattern 'cli-scan-*'; done >>"$work/scanned"
  done
  expect 'scans of all cores' 500 "$(wc -l <"$work/scanned" | tr -d ' ')"
  expect 'scans of all cores, each key once' 500 "$(sort -u "$work/scanned" | wc -l | tr -d ' ')"
  expect 'cluster info' "*\[OK\] $((before + 500)) keys in $endpoints masters.*" "$(cluster info)"
  expect benchmark '*SET: * requests per second*GET: * requests per second*' \
    "$(timeout 60 redis-benchmark --cluster -h 127.0.0.1 -p "${ports[0]}" -t set,get -n 4000 -r 1000 -c 10 -P 4 -q 2>&1 | tr '\r' '\n')"
}

# wait_members PORT UP
wait_members() {
  local n
  for ((n = 0; n < 600; n++)); do
    [[ $(cli "$1" info cluster) == *cluster_members_up:$2$'\r'* ]] && return
    sleep 0.1
  done
  expect "members that $1 sees" "$2" "$(cli "$1" info cluster)"
}

# One redis-cli that lives through it all, fed with writes until its input ends; every reply is kept.
load() {
  local n=0
  while [ ! -e "$work/stop" ]; do
    n=$((n + 1))
    printf 'SET cli-load-%s-%s %s\n' "$1" "$n" "$n"
    sleep 0.005
  done | redis-cli -c -h 127.0.0.1 -p "$1" >"$work/replies-$1" 2>&1
}

failures() {
  local port phase up victim=2 expected
  for port in "${ports[0]}" "${ports[1]}"; do load "$port" & done
  for phase in kill heal; do
    sleep 1
    "$ANNULUS_BINARY" dev "$phase" "$victim" --dir "$ANNULUS_DIR" || expect "$phase" done failed
    [ "$phase" = kill ] && up=$((${#ports[@]} - 1)) || up=${#ports[@]}
    wait_members "${ports[0]}" "$up"
    sleep 2
  done
  wait_members "${ports[victim]}" "${#ports[@]}"
  touch "$work/stop"
  wait
  for port in "${ports[0]}" "${ports[1]}"; do
    expected=$(wc -l <"$work/replies-$port" | tr -d ' ')
    expect "writes at $port are enough to show anything" '[1-9][0-9][0-9]*' "$expected"
    expect "errors at $port" '' "$(grep -v '^OK$' "$work/replies-$port" | head -n 3)"
    verify "$port" "$expected"
  done
}

# verify WRITER COUNT: every node has what was acknowledged
verify() {
  local port lost=0
  for port in "${ports[@]}"; do
    for n in $(seq 1 "$2"); do echo "GET cli-load-$1-$n"; done | cli "$port" >"$work/found"
    lost=$((lost + $(seq 1 "$2" | diff - "$work/found" | grep -c '^<')))
  done
  expect "lost of $2 writes at $1" 0 "$lost"
  echo "at $1: $2 writes acknowledged, $lost lost"
}

topology
commands
siblings
scans
failures
rm -rf "$work"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
