//! TCP: each connection is joined with one of our own to the node itself, and a thread for each direction carries bytes.
//!
//! Invariant: a thread ends when its stream has, when the relay ends, or, where bytes are held back, when they may pass again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{LOOK, Shared, spawn};

/// Connections of all relays together; one more is closed.
const STREAMS_MAX: usize = 512;
/// Carried at a time.
const PART_BYTES: usize = 64 << 10;
/// Between two looks for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(2);

/// Takes the connections to one node's front until the relay ends.
pub(super) fn accept(shared: &Arc<Shared>, listener: &TcpListener, to: usize) {
    while !shared.is_stopped() {
        let Ok((stream, source)) = listener.accept() else {
            std::thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        if shared.streams.fetch_add(1, Ordering::AcqRel) >= STREAMS_MAX {
            shared.streams.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let from = shared.node_of(source.ip());
        let carried = Arc::clone(shared);
        let begun = spawn("relay-stream".into(), move || {
            let _ = join(&carried, stream, from, to);
            carried.streams.fetch_sub(1, Ordering::AcqRel);
        });
        if begun.is_err() {
            shared.streams.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Dials the node and carries both directions; returns when both have ended.
fn join(shared: &Arc<Shared>, dialled: TcpStream, from: Option<usize>, to: usize) -> io::Result<()> {
    // A cut link would lose the first packet of a connection: nobody is dialled until it is mended.
    if !shared.wait_passage(from, Some(to)) || !shared.wait_passage(Some(to), from) {
        return Ok(());
    }
    let real = TcpStream::connect(shared.nodes[to].real)?;
    for stream in [&dialled, &real] {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(LOOK))?;
    }
    let (back_from, back_to) = (real.try_clone()?, dialled.try_clone()?);
    let carried = Arc::clone(shared);
    let back = std::thread::Builder::new()
        .name("relay-stream".into())
        .spawn(move || carry(&carried, back_from, back_to, Some(to), from))?;
    carry(shared, dialled, real, from, Some(to));
    back.join().expect("carrying does not panic");
    Ok(())
}

/// Carries one direction to its end.
fn carry(shared: &Shared, mut source: TcpStream, mut target: TcpStream, from: Option<usize>, to: Option<usize>) {
    let mut part = vec![0; PART_BYTES];
    while shared.wait_passage(from, to) {
        let count = match source.read(&mut part) {
            Ok(count) => count,
            Err(error) if may_go_on(&error) => continue,
            Err(_) => break,
        };
        std::thread::sleep(shared.faults.delay(from, to));
        if !shared.wait_passage(from, to) {
            break;
        }
        if count == 0 {
            let _ = target.shutdown(Shutdown::Write);
            return;
        }
        if write_all(shared, &mut target, &part[..count]).is_err() {
            break;
        }
    }
    let _ = source.shutdown(Shutdown::Both);
    let _ = target.shutdown(Shutdown::Both);
}

/// Writes everything, however long the other side does not read, unless the relay ends.
fn write_all(shared: &Shared, target: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match target.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if may_go_on(&error) && !shared.is_stopped() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn may_go_on(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
