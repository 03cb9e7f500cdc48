//! Finding addresses of names, on a thread of its own: that may take as long as it likes.
//!
//! Invariant: what is asked is bounded; what does not fit is not asked, and is asked again by whoever still wants it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use annulus_cluster::ids::NodeId;

use super::inbox::ControlSender;

/// Questions that wait.
const ASKED_MAX: usize = 64;

/// Whose address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A member's.
    Node(NodeId),
    /// Of the seed at that place in the configuration.
    Seed(usize),
}

/// One question.
#[derive(Debug)]
struct Question {
    wanted: Wanted,
    host: String,
    port: u16,
}

/// What came of a question: an address, or why there is none.
pub(super) type Answer = (Wanted, Result<SocketAddr, String>);

/// The thread that asks; it ends when this is dropped and the last question is answered.
#[derive(Debug)]
pub(super) struct Names {
    asks: SyncSender<Question>,
    answers: Receiver<Answer>,
}

impl Names {
    /// Starts the thread, which rings `control` with every answer. Addresses are of one family, as the socket is.
    pub(super) fn start(control: ControlSender, is_ipv4: bool) -> io::Result<Self> {
        let (asks, questions) = sync_channel::<Question>(ASKED_MAX);
        let (answer, answers) = sync_channel(ASKED_MAX);
        std::thread::Builder::new().name("names".to_owned()).spawn(move || {
            for Question { wanted, host, port } in questions {
                if answer.send((wanted, resolve(&host, port, is_ipv4))).is_err() {
                    return;
                }
                control.ring();
            }
        })?;
        Ok(Self { asks, answers })
    }

    /// Asks, unless too many questions wait.
    pub(super) fn ask(&self, wanted: Wanted, host: &str, port: u16) {
        let _ = self.asks.try_send(Question { wanted, host: host.to_owned(), port });
    }

    /// The next answer.
    pub(super) fn next(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

/// The first address of a name in the wanted family. Errors: there is none, in words. Blocks.
pub fn resolve(host: &str, port: u16, is_ipv4: bool) -> Result<SocketAddr, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let family = if is_ipv4 { "IPv4" } else { "IPv6" };
    let fits = |address: &SocketAddr| address.is_ipv4() == is_ipv4;
    addresses.into_iter().find(fits).ok_or_else(|| format!("{host} has no {family} address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_in_the_wanted_family() {
        assert_eq!(resolve("127.0.0.1", 7, true), Ok("127.0.0.1:7".parse().unwrap()));
        assert_eq!(resolve("127.0.0.1", 7, false), Err("127.0.0.1 has no IPv6 address".to_owned()));
        let (sender, inbox) = super::super::channel().unwrap();
        let names = Names::start(sender, true).unwrap();
        names.ask(Wanted::Seed(3), "localhost", 9);
        let mut polled = [rustix::event::PollFd::from_borrowed_fd(inbox.bell(), rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut polled, None).unwrap();
        assert_eq!(names.next(), Some((Wanted::Seed(3), Ok("127.0.0.1:9".parse().unwrap()))));
    }
}
