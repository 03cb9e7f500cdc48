#!/usr/bin/env bash
# redis-cli, unmodified, against a node on 127.0.0.1:$ANNULUS_PORT: commands, -3, -c, --scan, --bigkeys, --pipe, --cluster.
#
# Run by `cargo xtask clients`. Every check prints what failed; the last line counts.
set -u
port=${ANNULUS_PORT:?}
# shellcheck source=tools/clients/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

cli() { timeout 60 redis-cli -h 127.0.0.1 -p "$port" "$@" 2>&1; }

expect ping PONG "$(cli ping)"
expect flushall OK "$(cli flushall)"
expect set OK "$(cli set k 'two words')"
expect get 'two words' "$(cli get k)"
expect 'get of nothing' '' "$(cli get missing)"
expect resp3 'two words' "$(cli -3 get k)"
expect 'resp3 config' '*maxmemory-policy*noeviction*' "$(cli -3 config get maxmemory-policy)"
expect ttl '[0-9]*' "$(cli set e v ex 100 >/dev/null; cli ttl e)"
expect 'unknown command' '*unknown command*' "$(cli nosuch)"
expect 'standard input' OK "$(printf 'value' | cli -x set from-stdin)"
expect 'standard input, read' value "$(cli get from-stdin)"
expect 'many commands' $'OK\nOK\n2' "$(printf 'set a 1\nset b 2\nexists a b\n' | cli)"
expect 'info' '*redis_version:*' "$(cli info server)"
expect 'command docs' '*' "$(cli command docs get)"
cli flushall >/dev/null
for n in $(seq 1 500); do printf 'SET scan-%s %s\r\n' "$n" "$n"; done | cli --pipe >/tmp/annulus-pipe.$$ 2>&1
expect pipe '*errors: 0, replies: 500*' "$(cat /tmp/annulus-pipe.$$)"
rm -f /tmp/annulus-pipe.$$
expect scan 500 "$(cli --scan | sort -u | wc -l | tr -d ' ')"
expect 'scan with pattern' 10 "$(cli --scan --pattern 'scan-1?' | sort -u | wc -l | tr -d ' ')"
expect dbsize 500 "$(cli dbsize)"
expect bigkeys '*500 keys*' "$(cli --bigkeys | grep -i 'sampled')"
expect memkeys '*500 keys*' "$(cli --memkeys | grep -i 'sampled')"
expect benchmark '*SET: * requests per second*GET: * requests per second*' "$(timeout 60 redis-benchmark -h 127.0.0.1 -p "$port" -t set,get -n 2000 -c 10 -P 4 -q 2>&1 | tr '\r' '\n')"
if [ "${ANNULUS_PLAIN_ONLY:-0}" != 1 ]; then
  expect 'cluster set' OK "$(cli -c set cluster-key v)"
  for n in 1 2 3 4 5 6 7 8; do
    expect "cluster, core port, key $n" "*$n" "$(timeout 20 redis-cli -h 127.0.0.1 -p "$((port + 1))" -c get "scan-$n" 2>&1)"
  done
  expect 'cluster info' '*cluster_state:ok*' "$(cli cluster info)"
  expect 'cluster keyslot' 12182 "$(cli cluster keyslot foo)"
  expect 'cluster check' '*All 16384 slots covered*' "$(timeout 60 redis-cli --cluster check "127.0.0.1:$port" 2>&1)"
fi
expect flush OK "$(cli flushall)"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
