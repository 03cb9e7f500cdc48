//! The fault that the pulse is for, shown on a real executor.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};

use super::*;

/// Short enough that the executor is again and again pre-empted before it ran anything.
const HASTY: Duration = Duration::from_micros(10);
const YIELDS: u32 = 200_000;
/// Of the test; without the pulse it is what the executor sleeps.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_executor_that_is_pre_empted_before_it_ran_anything_goes_on() {
    let pulse = Pulse::start(1).expect("threads can be started");
    let gate = pulse.gate(0);
    let (sender, receiver) = channel();
    let executor = std::thread::spawn(move || {
        gate.attach();
        let executor = LocalExecutorBuilder::new(Placement::Unbound).preempt_timer(HASTY).make();
        let slow = executor.expect("an executor can be made").run(async {
            let mut slow = 0_u32;
            for _ in 0..YIELDS {
                let began = Instant::now();
                glommio::executor().yield_task_queue_now().await;
                slow += u32::from(began.elapsed() > PERIOD / 4);
            }
            slow
        });
        sender.send(slow).expect("the test waits");
    });
    let slow = match receiver.recv_timeout(PATIENCE) {
        Ok(slow) => slow,
        // Its thread sleeps for ever: joining it would too.
        Err(RecvTimeoutError::Timeout) => panic!("the executor sleeps beside a runnable task"),
        Err(RecvTimeoutError::Disconnected) => panic!("the executor ended early"),
    };
    executor.join().expect("the executor ends");
    assert!(slow > 0, "nothing was ever pre-empted early: the test shows nothing");
}

#[test]
fn a_closed_gate_lets_the_thread_sleep_and_ends_with_the_pulse() {
    let pulse = Pulse::start(2).expect("threads can be started");
    let gates = [pulse.gate(0), pulse.gate(1)];
    gates.iter().for_each(Gate::close);
    assert!(pulse.sleepers.iter().all(|sleeper| !sleeper.may_sleep.load(Ordering::Acquire)));
    gates[1].open();
    assert!(pulse.sleepers[1].may_sleep.load(Ordering::Acquire));
    drop(gates);
    assert!(pulse.sleepers.iter().all(|sleeper| !sleeper.may_sleep.load(Ordering::Acquire)));
    drop(pulse);
}
