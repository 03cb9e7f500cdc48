//! What production runs a core on: the executor, the ring and the disk. Together with `boot` the only place that names them.

pub mod background;
pub mod disk;
pub mod driver;
pub mod pulse;
