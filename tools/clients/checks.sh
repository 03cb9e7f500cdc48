# Counts checks, for the scripts beside it that source it; each ends by printing how many have passed and failed.
passed=0
failed=0

# expect WHAT PATTERN TEXT: the text matches the shell pattern
expect() {
  # shellcheck disable=SC2053
  if [[ $3 == $2 ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s: expected %s, got %s\n' "$1" "$2" "$3"
  fi
}
