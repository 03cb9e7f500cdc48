//! The queues between the cores of a node: which core owns a partition, and bounded batches from every core to every other.
//!
//! All requests that one turn has for another core travel as one [`Batch`], and so do the replies. Requests and replies have
//! queues of their own, so that a core which cannot take more requests can still be answered.
//!
//! A request is a RESP command behind a header with the sender's token, the reply's protocol, and who asks; a reply is RESP
//! behind the token.
//!
//! Invariant: nothing else is shared between cores. A queue that is full delays its sender; nothing is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annulus_net::resp::Protocol;
use annulus_net::ring::RingAddress;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::consistency::Asker;
use crate::limits;

/// The partitions of each core: contiguous, so that a core's slots are one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreMap {
    core_of: Arc<[u16]>,
    cores: u16,
}

impl CoreMap {
    /// Spreads `partitions` over `cores` in contiguous ranges that differ by at most one partition.
    pub fn new(partitions: u32, cores: u16) -> Self {
        assert!(cores > 0 && u32::from(cores) <= partitions, "every core owns a partition");
        let partition = |number: u32| u16::try_from(number).expect("at most 16384 partitions");
        let core_of = (0..partitions).map(|number| Self::core_among(partition(number), partitions, cores)).collect();
        Self { core_of, cores }
    }

    /// The core of a node with `cores` cores that owns one of `partitions` partitions: the same for every node.
    pub fn core_among(partition: u16, partitions: u32, cores: u16) -> u16 {
        u16::try_from(u32::from(partition) * u32::from(cores) / partitions).expect("less than cores")
    }

    /// The core that owns a partition.
    pub fn core_of(&self, partition: u16) -> u16 {
        self.core_of[usize::from(partition)]
    }

    /// Number of cores.
    pub fn cores(&self) -> u16 {
        self.cores
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.core_of.len()).expect("made from a u32")
    }

    /// The partitions of a core.
    pub fn owned(&self, core: u16) -> std::ops::Range<u32> {
        let start = self.core_of.partition_point(|other| *other < core);
        let end = self.core_of.partition_point(|other| *other <= core);
        u32::try_from(start).expect("made from a u32")..u32::try_from(end).expect("made from a u32")
    }
}

/// Requests or replies of one turn for one core.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
}

const HEADER_BYTES: usize = 16;

impl Batch {
    /// Adds a message: `flags` is kept for the receiver.
    fn push(&mut self, token: u64, flags: u32, message: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&token.to_le_bytes());
        self.bytes.extend_from_slice(&flags.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        message(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start - HEADER_BYTES).expect("a message is far below 4 GiB");
        self.bytes[start + 12..start + HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    /// Adds a request whose RESP command `write` appends.
    pub fn push_request(
        &mut self,
        token: u64,
        (flags, asker): (RequestFlags, Asker),
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.push(token, flags.0, |bytes| {
            bytes.extend_from_slice(&asker.to_bytes());
            write(bytes);
        });
    }

    /// Adds a reply.
    pub fn push_reply(&mut self, token: u64, reply: &[u8]) {
        self.push(token, 0, |bytes| bytes.extend_from_slice(reply));
    }

    /// The request at `offset`, and where the next one starts.
    pub fn request(&self, offset: usize) -> Option<(Request<'_>, usize)> {
        let (token, flags, message, next) = self.message(offset)?;
        let (asker, command) = message.split_first_chunk().expect("a request begins with who asks");
        Some((Request { token, flags, asker: Asker::from_bytes(asker), command }, next))
    }

    /// The reply at `offset` with its token, and where the next one starts.
    pub fn reply(&self, offset: usize) -> Option<(u64, &[u8], usize)> {
        self.message(offset).map(|(token, _, reply, next)| (token, reply, next))
    }

    fn message(&self, offset: usize) -> Option<(u64, RequestFlags, &[u8], usize)> {
        let header = self.bytes.get(offset..offset + HEADER_BYTES)?;
        let token = u64::from_le_bytes(header[..8].try_into().expect("eight bytes"));
        let flags = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
        let length = u32::from_le_bytes(header[12..].try_into().expect("four bytes")) as usize;
        let end = offset + HEADER_BYTES + length;
        Some((token, RequestFlags(flags), &self.bytes[offset + HEADER_BYTES..end], end))
    }

    /// Bytes of all messages.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True without messages.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A command for another core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The sender's, for the reply.
    pub token: u64,
    /// How to run it.
    pub flags: RequestFlags,
    /// For whom.
    pub asker: Asker,
    /// RESP.
    pub command: &'a [u8],
}

/// What the executing core must know of a request beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFlags(u32);

impl RequestFlags {
    /// Replies in this protocol; about this partition.
    pub fn new(protocol: Protocol, partition: u16) -> Self {
        Self(u32::from(matches!(protocol, Protocol::Resp3)) | u32::from(partition) << 1)
    }

    /// The partition of the command's key, if it has one.
    pub fn partition(self) -> u16 {
        u16::try_from(self.0 >> 1).expect("made from a u16")
    }

    /// Replies in this protocol.
    pub fn protocol(self) -> Protocol {
        if self.0 & 1 == 1 { Protocol::Resp3 } else { Protocol::Resp2 }
    }
}

/// What travels between cores.
#[derive(Debug)]
pub enum Message {
    /// Commands to run, or replies, by the queue it came through.
    Batch(Batch),
    /// A client that connected to the base port is this core's from now on.
    Client(std::os::fd::OwnedFd),
}

/// Says whether a core sleeps, and how to wake it.
#[derive(Debug)]
pub struct Doorbell {
    asleep: AtomicBool,
    address: RingAddress,
}

impl Doorbell {
    /// The bell of a core whose ring has this address.
    pub fn new(address: RingAddress) -> Self {
        Self { asleep: AtomicBool::new(false), address }
    }

    /// To be called before sleeping, *then* the queues are looked at once more.
    pub fn about_to_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// To be called after sleeping.
    pub fn awake(&self) {
        if self.asleep.load(Ordering::Relaxed) {
            self.asleep.store(false, Ordering::Relaxed);
        }
    }

    /// To be called after something was put into a queue of the core: the address to wake, at most once per sleep.
    pub fn must_ring(&self) -> Option<RingAddress> {
        std::sync::atomic::fence(Ordering::SeqCst);
        (self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst)).then_some(self.address)
    }
}

/// The ends of the queues to and from one other core.
struct Neighbour {
    requests_out: Producer<Message>,
    requests_in: Consumer<Message>,
    replies_out: Producer<Message>,
    replies_in: Consumer<Message>,
    /// Gathered in this turn.
    requests: Batch,
    replies: Batch,
    /// Emptied batches, to be filled again.
    spare: Vec<Vec<u8>>,
}

/// One core's ends of all queues.
pub struct Mesh {
    core: u16,
    neighbours: Vec<Option<Neighbour>>,
}

impl Mesh {
    /// The ends for every core of a node.
    pub fn for_cores(cores: u16) -> Vec<Self> {
        let count = usize::from(cores);
        let mut ends: Vec<Vec<Ends>> = (0..count).map(|_| (0..count).map(|_| Ends::default()).collect()).collect();
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        for (from, to) in pairs.filter(|(from, to)| from != to) {
            let (requests_out, requests_in) = RingBuffer::new(limits::MESH_QUEUE_MESSAGES);
            let (replies_out, replies_in) = RingBuffer::new(limits::MESH_QUEUE_MESSAGES);
            ends[from][to].requests_out = Some(requests_out);
            ends[from][to].replies_out = Some(replies_out);
            ends[to][from].requests_in = Some(requests_in);
            ends[to][from].replies_in = Some(replies_in);
        }
        let mesh_of = |(core, row): (usize, Vec<Ends>)| Self {
            core: u16::try_from(core).expect("counted in u16"),
            neighbours: row.into_iter().map(Ends::into_neighbour).collect(),
        };
        ends.into_iter().enumerate().map(mesh_of).collect()
    }

    /// The core that holds these ends.
    pub fn core(&self) -> u16 {
        self.core
    }

    /// The other cores.
    pub fn others(&self) -> impl Iterator<Item = u16> + use<> {
        let core = self.core;
        (0..u16::try_from(self.neighbours.len()).expect("counted in u16")).filter(move |other| *other != core)
    }

    fn neighbour(&mut self, core: u16) -> &mut Neighbour {
        self.neighbours[usize::from(core)].as_mut().expect("a core sends to others only")
    }

    /// The batch of requests that this turn gathers for a core.
    pub fn requests_to(&mut self, core: u16) -> &mut Batch {
        &mut self.neighbour(core).requests
    }

    /// The batch of replies that this turn gathers for a core.
    pub fn replies_to(&mut self, core: u16) -> &mut Batch {
        &mut self.neighbour(core).replies
    }

    /// True when a client must wait before it may send this core more requests.
    pub fn is_congested(&self, core: u16) -> bool {
        let neighbour = self.neighbours[usize::from(core)].as_ref().expect("a core sends to others only");
        neighbour.requests.len() >= limits::MESH_BATCH_BYTES
    }

    /// True when any other core is congested.
    pub fn any_congested(&self) -> bool {
        self.others().any(|core| self.is_congested(core))
    }

    /// Sends a message that is no batch; `false` when the queue is full.
    pub fn send(&mut self, core: u16, message: Message) -> Result<(), Message> {
        self.neighbour(core).requests_out.push(message).map_err(|rtrb::PushError::Full(message)| message)
    }

    /// Puts the gathered batches into the queues; calls `sent` for each core that got something. False when something did not
    /// fit, which stays for the next turn.
    pub fn flush(&mut self, mut sent: impl FnMut(u16)) -> bool {
        let mut fits = true;
        for core in self.others() {
            let neighbour = self.neighbour(core);
            let mut any = false;
            let Neighbour { requests, replies, requests_out, replies_out, spare, .. } = neighbour;
            for (batch, queue) in [(requests, requests_out), (replies, replies_out)] {
                if batch.is_empty() || queue.slots() == 0 {
                    fits &= batch.is_empty();
                    continue;
                }
                let fresh = Batch { bytes: spare.pop().unwrap_or_default() };
                let full = std::mem::replace(batch, fresh);
                let pushed = queue.push(Message::Batch(full));
                assert!(pushed.is_ok(), "a slot was free and this core is the only sender");
                any = true;
            }
            if any {
                sent(core);
            }
        }
        fits
    }

    /// The next message of requests from a core.
    pub fn next_requests(&mut self, core: u16) -> Option<Message> {
        self.neighbour(core).requests_in.pop().ok()
    }

    /// The next batch of replies from a core.
    pub fn next_replies(&mut self, core: u16) -> Option<Message> {
        self.neighbour(core).replies_in.pop().ok()
    }

    /// Keeps a batch's memory for later.
    pub fn recycle(&mut self, core: u16, batch: Batch) {
        let mut bytes = batch.bytes;
        let spare = &mut self.neighbour(core).spare;
        if bytes.capacity() <= limits::MESH_BATCH_BYTES && spare.len() < limits::MESH_SPARE_BATCHES {
            bytes.clear();
            spare.push(bytes);
        }
    }

    /// True when nothing has arrived.
    pub fn is_quiet(&self) -> bool {
        !self.has_replies() && self.neighbours.iter().flatten().all(|neighbour| neighbour.requests_in.is_empty())
    }

    /// True when replies have arrived.
    pub fn has_replies(&self) -> bool {
        self.neighbours.iter().flatten().any(|neighbour| !neighbour.replies_in.is_empty())
    }

    /// True when nothing waits for a place in a queue.
    pub fn is_flushed(&self) -> bool {
        self.neighbours.iter().flatten().all(|neighbour| neighbour.requests.is_empty() && neighbour.replies.is_empty())
    }
}

#[derive(Default)]
struct Ends {
    requests_out: Option<Producer<Message>>,
    requests_in: Option<Consumer<Message>>,
    replies_out: Option<Producer<Message>>,
    replies_in: Option<Consumer<Message>>,
}

impl Ends {
    /// `None` for a core's ends to itself.
    fn into_neighbour(self) -> Option<Neighbour> {
        Some(Neighbour {
            requests_out: self.requests_out?,
            requests_in: self.requests_in?,
            replies_out: self.replies_out?,
            replies_in: self.replies_in?,
            requests: Batch::default(),
            replies: Batch::default(),
            spare: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
