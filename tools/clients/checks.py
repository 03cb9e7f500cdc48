"""What the Python scripts count: checks that passed and failed.

Invariant: a script that checked nothing ends with a status other than 0.
"""

import sys
import traceback

import redis

passed, failed = 0, 0


def check(condition, what):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {what}")


def expect_error(call, text, what):
    try:
        call()
    except redis.RedisError as error:
        check(text in str(error), f"{what}: {error}")
    else:
        check(False, f"{what}: no error")


def attempt(what, call):
    try:
        call()
    except Exception:
        traceback.print_exc()
        check(False, f"{what} ended by an exception")


def finish():
    """Prints the line that `cargo xtask clients` waits for, and ends the process."""
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
