//! An echo over loopback: what a message costs a server that does nothing but receive and send it. Server and client are
//! a thread with a ring each, on the first and the last processor that this process may use.

use super::echo_side::{MESSAGE_BYTES, Measured, Side, Window};
use super::error::FloorError;
use super::options::Options;
use super::report::Report;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

/// Messages that each connection keeps under way.
const PIPELINES: [usize; 2] = [1, 16];
/// How long connecting and ending may take.
const GRACE: Duration = Duration::from_secs(5);

/// Measures both pipelines.
pub fn run(options: &Options, report: &mut Report) -> Result<(), FloorError> {
    for pipeline in PIPELINES {
        let (server, client) = of_pipeline(options, pipeline)?;
        let parameters = [
            ("connections", options.connections as u64),
            ("pipeline", pipeline as u64),
            ("bytes", MESSAGE_BYTES as u64),
        ];
        let share = |side: &Measured| side.cpu.as_secs_f64() / side.elapsed.as_secs_f64();
        let figures = [
            ("messages_per_second", server.messages / server.elapsed.as_secs_f64()),
            ("server_cpu", server.cpu.as_secs_f64() * 1e6 / server.messages),
            ("server_share", share(&server)),
            ("client_share", share(&client)),
        ];
        report.row("echo", &parameters, &figures);
    }
    Ok(())
}

fn of_pipeline(options: &Options, pipeline: usize) -> Result<(Measured, Measured), FloorError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(FloorError::at("listening on loopback"))?;
    // All clients connect at once.
    rustix::net::listen(&listener, 4096).map_err(|errno| FloorError::at("listening on loopback")(errno.into()))?;
    let address = listener.local_addr().map_err(FloorError::at("listening on loopback"))?;
    let sockets = connect(address, options.connections)?;
    let from = Instant::now() + options.warm_up;
    let until = from + options.duration;
    let stop = until + options.warm_up;
    let window = Window { from, until, stop, give_up: stop + GRACE };
    let (server_cpu, client_cpu) = processors();
    // A thread each, since a ring belongs to the thread that made it.
    let (server, client) = thread::scope(|scope| {
        let server = scope.spawn(|| {
            pin(server_cpu);
            Side::server(listener, options.connections, window)?.run()
        });
        let client = scope.spawn(|| {
            pin(client_cpu);
            Side::client(sockets, pipeline, window)?.run()
        });
        (server.join().expect("the server does not panic"), client.join().expect("the client does not panic"))
    });
    // When one side fails the other one's error is that nothing comes any more.
    match (server, client) {
        (Ok(server), Ok(client)) => Ok((server, client)),
        (Err(FloorError::Wrong(_)), Err(error)) | (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Sockets that wait in the listener's queue until the server accepts.
fn connect(address: SocketAddr, count: usize) -> Result<Vec<OwnedFd>, FloorError> {
    let connect = |_| {
        let socket = TcpStream::connect_timeout(&address, GRACE)?;
        socket.set_nodelay(true)?;
        Ok(socket.into())
    };
    (0..count).map(connect).collect::<std::io::Result<_>>().map_err(FloorError::at("connecting over loopback"))
}

/// The first and the last processor that this thread may use.
fn processors() -> (Option<usize>, Option<usize>) {
    let Ok(allowed) = sched_getaffinity(None) else { return (None, None) };
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    let first = allowed.next();
    (first, allowed.next_back().or(first))
}

/// Keeps the calling thread on a processor. Not to be allowed to only makes the figures less steady.
fn pin(cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        let mut only = CpuSet::new();
        only.set(cpu);
        let _ = sched_setaffinity(None, &only);
    }
}
