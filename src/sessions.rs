//! The clients of one core, by index and by connection.
//!
//! Invariant: an index is given to another client only after its session is finished.

use annulus_net::ring::ConnectionId;

use crate::session::Session;

/// The clients of one core.
#[derive(Default)]
pub struct Sessions {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_connection: Vec<Option<u32>>,
}

enum Slot {
    Free,
    /// Its session runs a command and was taken out.
    Taken,
    Here(Box<Session>),
}

impl Sessions {
    /// Adds a client.
    pub fn add(&mut self, session: Session) -> u32 {
        let connection = session.connection.expect("a new session has a connection");
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            u32::try_from(self.slots.len() - 1).expect("sessions are bounded by maxclients")
        });
        self.slots[index as usize] = Slot::Here(Box::new(session));
        let place = connection.index();
        if self.by_connection.len() <= place {
            self.by_connection.resize(place + 1, None);
        }
        assert!(self.by_connection[place].is_none(), "a connection has one session");
        self.by_connection[place] = Some(index);
        index
    }

    /// The session of a connection.
    pub fn of(&self, connection: ConnectionId) -> u32 {
        self.by_connection[connection.index()].expect("every connection has a session until it is closed")
    }

    /// Forgets a connection; its id may be given to another client from now on.
    pub fn disconnect(&mut self, connection: ConnectionId) -> u32 {
        let index = self.by_connection[connection.index()].take().expect("a connection is closed once");
        self.get_mut(index).connection = None;
        index
    }

    /// A session.
    pub fn get_mut(&mut self, index: u32) -> &mut Session {
        match &mut self.slots[index as usize] {
            Slot::Here(session) => session,
            Slot::Taken => unreachable!("a session that runs a command is not looked up"),
            Slot::Free => unreachable!("an index is used only until its session is finished"),
        }
    }

    /// Takes a session out to run its commands; [`Sessions::put_back`] follows.
    pub fn take(&mut self, index: u32) -> Box<Session> {
        match std::mem::replace(&mut self.slots[index as usize], Slot::Taken) {
            Slot::Here(session) => session,
            _ => unreachable!("a session runs its commands one after the other"),
        }
    }

    /// Puts back what [`Sessions::take`] took.
    pub fn put_back(&mut self, index: u32, session: Box<Session>) {
        let slot = &mut self.slots[index as usize];
        assert!(matches!(slot, Slot::Taken));
        *slot = Slot::Here(session);
    }

    /// Frees the place of a finished session.
    pub fn remove(&mut self, index: u32) {
        assert!(self.get_mut(index).is_finished());
        self.slots[index as usize] = Slot::Free;
        self.free.push(index);
    }

    /// All sessions that are not running a command.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Session)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| match slot {
            Slot::Here(session) => Some((u32::try_from(index).expect("indexes are u32"), &**session)),
            _ => None,
        })
    }

    /// All sessions that are not running a command.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Session)> {
        self.slots.iter_mut().enumerate().filter_map(|(index, slot)| match slot {
            Slot::Here(session) => Some((u32::try_from(index).expect("indexes are u32"), &mut **session)),
            _ => None,
        })
    }

    /// Number of sessions, finished connections with late replies included.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True without sessions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
