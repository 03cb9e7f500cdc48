//! What a core's executor does beside the turns: preparing segments, storing a new incarnation.
//!
//! Invariant: while anything is under way the executor's gate is open and the driver gives way after every turn; it is closed
//! only by the driver, when it runs again and nothing is under way.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annulus_engine::{Work, WorkDone};
use annulus_object::Actor;
use glommio::{Latency, Shares, TaskQueueHandle};

use super::disk::RingDisk;
use super::pulse::Gate;
use crate::snapshot::{self, Desk};

/// Shares of the executor's time that background work has beside the turns' [`TURN_SHARES`].
const BACKGROUND_SHARES: usize = 100;
/// What the executor gives a queue that says nothing, as the turns' does.
const TURN_SHARES: usize = 1000;
const _: () = assert!(BACKGROUND_SHARES < TURN_SHARES);
/// How long the synthetic task computes before it lets others run.
const SYNTHETIC_SLICE: Duration = Duration::from_micros(50);

/// Stores a new incarnation durably and gives its actor.
pub type TakeIncarnation = Arc<dyn Fn() -> Result<Actor, String> + Send + Sync>;

/// How a piece of work ended.
pub enum BackgroundDone {
    /// The engine's.
    Work(WorkDone<RingDisk>),
    /// With nothing to tell.
    Nothing,
    /// A new incarnation is stored, or could not be.
    Incarnation(Result<Actor, String>),
    /// What a snapshot wanted is done.
    Snapshot(snapshot::Done),
}

/// The work of one core's executor.
pub struct Background {
    running: Rc<Cell<usize>>,
    done: Rc<RefCell<Vec<BackgroundDone>>>,
    gate: Gate,
    take_incarnation: TakeIncarnation,
    snapshots: Arc<Desk>,
    queue: TaskQueueHandle,
    /// The synthetic task goes on.
    synthetic: Rc<Cell<bool>>,
}

impl Background {
    /// None yet; `gate` is of the executor that runs now.
    pub fn new(gate: Gate, take_incarnation: TakeIncarnation, snapshots: Arc<Desk>) -> Self {
        gate.close();
        let queue = glommio::executor().create_task_queue(
            Shares::Static(BACKGROUND_SHARES),
            Latency::NotImportant,
            "background",
        );
        let (running, done) = (Rc::default(), Rc::default());
        Self { running, done, gate, take_incarnation, snapshots, queue, synthetic: Rc::default() }
    }

    /// Begins a task that always has something to compute, until [`Background::end`].
    pub fn start_synthetic(&self) {
        let goes_on = Rc::clone(&self.synthetic);
        goes_on.set(true);
        self.spawn(async move {
            while goes_on.get() {
                let began = Instant::now();
                while began.elapsed() < SYNTHETIC_SLICE {
                    std::hint::spin_loop();
                }
                glommio::yield_if_needed().await;
            }
            BackgroundDone::Nothing
        });
    }

    /// Lets what would go on for ever end.
    pub fn end(&self) {
        self.synthetic.set(false);
    }

    /// Begins a piece of the engine's work.
    pub fn run(&self, work: Work<RingDisk>) {
        self.spawn(async move { BackgroundDone::Work(work.run().await) });
    }

    /// Begins to store a new incarnation.
    pub fn take_incarnation(&self) {
        let take = Arc::clone(&self.take_incarnation);
        self.spawn(
            async move { BackgroundDone::Incarnation(glommio::executor().spawn_blocking(move || take()).await) },
        );
    }

    /// Begins what a snapshot wants done.
    pub fn snapshot(&self, task: snapshot::Task) {
        let desk = Arc::clone(&self.snapshots);
        self.spawn(async move {
            BackgroundDone::Snapshot(glommio::executor().spawn_blocking(move || desk.run(task)).await)
        });
    }

    fn spawn(&self, work: impl Future<Output = BackgroundDone> + 'static) {
        let (running, done) = (Rc::clone(&self.running), Rc::clone(&self.done));
        running.set(running.get() + 1);
        self.gate.open();
        let task = async move {
            let result = work.await;
            done.borrow_mut().push(result);
            running.set(running.get() - 1);
        };
        glommio::spawn_local_into(task, self.queue).expect("the queue lives as long as the executor").detach();
    }

    /// True while work is under way.
    pub fn is_running(&self) -> bool {
        self.running.get() > 0
    }

    /// True when results wait to be taken.
    pub fn has_results(&self) -> bool {
        !self.done.borrow().is_empty()
    }

    /// What has ended since the last call.
    pub fn take(&self) -> Vec<BackgroundDone> {
        std::mem::take(&mut *self.done.borrow_mut())
    }

    /// Lets the executor go on with what is under way; at once back when nothing is.
    pub async fn give_way(&self) {
        if self.is_running() {
            glommio::executor().yield_task_queue_now().await;
            if !self.is_running() {
                self.gate.close();
            }
        }
    }
}
