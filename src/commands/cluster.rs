//! CLUSTER: where the slots are, as [`crate::topology`] tells it, the keys of one slot, and connections to other nodes.

use annulus_net::resp::{Protocol, writer};

use super::Args;
use super::session::{Answer, SessionCommand};
use super::table::{Command, Gather};
use crate::config::Announce;
use crate::core_facts::{Direction, LinkFact};
use crate::slot;
use crate::topology::{self, Reply, Style};

const DISABLED: &str = "ERR This instance has cluster support disabled";

/// CLUSTER's subcommands that any core can answer, and those that every core has a part of.
pub fn run(command: Command, context: &mut SessionCommand<'_>, args: Args<'_>) -> Answer {
    if context.node.config.announce == Announce::Off {
        writer::error(context.out, DISABLED);
        return Answer::Done;
    }
    match command {
        Command::ClusterKeySlot => writer::integer(context.out, slot::of_key(args[2]).into()),
        Command::ClusterLinks => return Answer::EveryCore(Gather::Concat),
        other => tell(other, context),
    }
    Answer::Done
}

/// What follows from the newest view.
fn tell(command: Command, context: &mut SessionCommand<'_>) {
    let (node, core, protocol) = (context.node, context.core, context.session.protocol);
    let (view, style) = (node.view.get(), Style::of(node));
    let reply = match command {
        Command::ClusterSlots => Reply::Slots(protocol),
        Command::ClusterShards => Reply::Shards(protocol),
        Command::ClusterNodes => Reply::Nodes,
        Command::ClusterInfo => {
            let text = node.topologies.topology(&view, &style).info(core);
            return writer::verbatim(context.out, protocol, "txt", text.as_bytes());
        }
        Command::ClusterMyId => {
            return writer::bulk(context.out, node.topologies.topology(&view, &style).id_of(core).as_bytes());
        }
        Command::ClusterMyShardId => {
            let core = if style.announce == Announce::Core { core } else { 0 };
            return writer::bulk(context.out, topology::shard_id(&node.cluster_id, node.node_id, core).as_bytes());
        }
        other => unreachable!("{other:?} is answered elsewhere"),
    };
    let reached = topology::host_reached(node, context.session.local);
    node.topologies.write((&view, &style), (reply, protocol), (&reached, core), context.out);
}

/// One core's part of CLUSTER LINKS: a list with a map for each of its connections to cores of other nodes.
pub fn links_part(cluster_id: &[u8; 16], links: &[LinkFact], protocol: Protocol, out: &mut Vec<u8>) {
    writer::array_header(out, links.len());
    for link in links {
        let text = |out: &mut Vec<u8>, name: &str, value: &str| {
            writer::bulk(out, name.as_bytes());
            writer::bulk(out, value.as_bytes());
        };
        let number = |out: &mut Vec<u8>, name: &str, value: u64| {
            writer::bulk(out, name.as_bytes());
            writer::integer(out, i64::try_from(value).unwrap_or(i64::MAX));
        };
        writer::map_header(out, protocol, 8);
        text(out, "direction", if link.direction == Direction::Dialled { "to" } else { "from" });
        text(out, "node", &topology::core_id(cluster_id, link.peer.node.raw(), link.peer.core));
        number(out, "create-time", link.created_unix_ms);
        text(out, "events", if link.queued_bytes > 0 { "rw" } else { "r" });
        number(out, "send-buffer-allocated", link.buffer_bytes);
        number(out, "send-buffer-used", link.queued_bytes);
        // Not of Redis: what the two ends have agreed on.
        number(out, "protocol", link.version.into());
        text(out, "capabilities", &format!("{:x}", link.capabilities));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core_inbox::PeerCore;
    use annulus_cluster::ids::NodeId;

    #[test]
    fn keys_of_redis_documentation() {
        assert_eq!(slot::of_key(b"somekey"), 11_058);
        assert_eq!(slot::of_key(b"foo{hash_tag}"), 2_515);
    }

    #[test]
    fn links_as_redis_tells_of_them() {
        let link = LinkFact {
            peer: PeerCore { node: NodeId::new(7), core: 3 },
            direction: Direction::Accepted,
            created_unix_ms: 1_800_000_000_000,
            version: 2,
            capabilities: 0xa1,
            queued_bytes: 0,
            buffer_bytes: 4096,
        };
        let mut out = Vec::new();
        links_part(
            &[9; 16],
            &[link, LinkFact { direction: Direction::Dialled, queued_bytes: 8, ..link }],
            Protocol::Resp2,
            &mut out,
        );
        let text = String::from_utf8(out).unwrap().replace("\r\n", "|");
        let id = topology::core_id(&[9; 16], 7, 3);
        let expected = format!(
            "*2|*16|$9|direction|$4|from|$4|node|$40|{id}|$11|create-time|:1800000000000|$6|events|$1|r|\
             $21|send-buffer-allocated|:4096|$16|send-buffer-used|:0|\
             $8|protocol|:2|$12|capabilities|$2|a1|*16|$9|direction|$2|to|"
        );
        assert!(text.starts_with(&expected), "{text}");
        let end = "$6|events|$2|rw|$21|send-buffer-allocated|:4096|$16|send-buffer-used|:8|$8|protocol|:2|$12|capabilities|$2|a1|";
        assert!(text.ends_with(end), "{text}");
    }
}
