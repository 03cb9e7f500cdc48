// What the JavaScript scripts count: checks that passed and failed.
//
// Invariant: a script that checked nothing ends with a status other than 0.
let passed = 0;
let failed = 0;

export function check(condition, what) {
  if (condition) passed += 1;
  else {
    failed += 1;
    console.log(`FAILED: ${what}`);
  }
}

export async function expectError(promise, text, what) {
  try {
    const reply = await promise;
    check(false, `${what}: no error but ${reply}`);
  } catch (error) {
    check(String(error.message).includes(text), `${what}: ${error.message}`);
  }
}

export async function attempt(what, call) {
  try {
    await call();
  } catch (error) {
    console.log(error);
    check(false, `${what} ended by an exception`);
  }
}

// Prints the line that `cargo xtask clients` waits for, and ends the process.
export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed > 0 || passed === 0 ? 1 : 0);
}
