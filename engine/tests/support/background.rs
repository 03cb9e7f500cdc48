//! Background work of a node: all at once, or in steps between which turns and writes happen, as on a real executor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use annulus_engine::WorkDone;
use annulus_engine::disk::memory::{MemoryDisk, block_on};

use super::Node;

/// A piece of work under way, and of which core.
pub struct Running {
    core: usize,
    future: Pin<Box<dyn Future<Output = WorkDone<MemoryDisk>>>>,
}

impl Node {
    /// Takes a core's work, and does as much of it as one turn does.
    pub fn run_work(&mut self, core: usize) {
        self.disk.set_pauses(self.work_steps.is_some());
        // Some at a time, so that everything else comes in between.
        let mut steps = self.work_steps.unwrap_or(self.works_per_turn);
        loop {
            while let Some(work) = self.cores[core].next_work() {
                if std::mem::take(&mut self.holds_next_work) {
                    self.held_work.push(work);
                    continue;
                }
                self.running.push(Running { core, future: Box::pin(work.run()) });
            }
            let Some(index) = self.running.iter().position(|running| running.core == core).filter(|_| steps > 0) else {
                return;
            };
            steps -= 1;
            // The next step is another's, if there is another.
            let mut running = self.running.remove(index);
            let done = if self.work_steps.is_some() {
                running.future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            } else {
                Poll::Ready(block_on(running.future.as_mut()))
            };
            match done {
                Poll::Ready(done) => self.cores[core].on_work_done(done, self.now_ms),
                Poll::Pending => self.running.push(running),
            }
        }
    }

    /// Whatever was under way never ends.
    pub fn abandon_work(&mut self) {
        self.running.clear();
        self.held_work.clear();
    }
}
