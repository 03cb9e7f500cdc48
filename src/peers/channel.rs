//! What travels on a link: the numbers of the channels.
//!
//! Invariant: a number never gets another meaning; links themselves use those from
//! [`annulus_net::peer_frame::CHANNELS_RESERVED`] on.

/// What a message is, and who takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A message of the data plane, between the cores that have the same partitions.
    Data,
    /// A message of the control plane, between cores 0.
    Control,
    /// A command that another node's core is to run.
    Command,
    /// The reply to one.
    Reply,
}

impl Channel {
    /// As in a frame.
    pub const fn number(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Control => 2,
            Self::Command => 3,
            Self::Reply => 4,
        }
    }

    /// The inverse; `None` for any other number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Data),
            2 => Some(Self::Control),
            3 => Some(Self::Command),
            4 => Some(Self::Reply),
            _ => None,
        }
    }
}
