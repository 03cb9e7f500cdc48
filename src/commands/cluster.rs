//! CLUSTER: where the slots are, as [`crate::topology`] tells it, and the keys of one slot.

use std::fmt::Write as _;

use annulus_net::resp::writer;

use super::Args;
use super::session::SessionCommand;
use super::table::Command;
use crate::config::Announce;
use crate::slot;
use crate::topology::Topology;

const DISABLED: &str = "ERR This instance has cluster support disabled";

/// CLUSTER's subcommands that any core can answer.
pub fn run(command: Command, context: &mut SessionCommand<'_>, args: Args<'_>) {
    if context.node.config.announce == Announce::Off {
        return writer::error(context.out, DISABLED);
    }
    if command == Command::ClusterKeySlot {
        return writer::integer(context.out, slot::of_key(args[2]).into());
    }
    let topology = Topology::new(context.node, context.session.local);
    let protocol = context.session.protocol;
    match command {
        Command::ClusterSlots => topology.write_slots(context.out, protocol),
        Command::ClusterShards => topology.write_shards(context.out, protocol),
        Command::ClusterMyId => writer::bulk(context.out, topology.id_of(context.core).as_bytes()),
        Command::ClusterNodes => {
            writer::verbatim(context.out, protocol, "txt", topology.nodes(context.core).as_bytes());
        }
        Command::ClusterInfo => {
            writer::verbatim(context.out, protocol, "txt", info(&topology, context.core).as_bytes());
        }
        other => unreachable!("{other:?} is answered elsewhere"),
    }
}

/// The text of CLUSTER INFO. Announced nodes are up as long as this process is.
fn info(topology: &Topology, core: u16) -> String {
    let (size, epoch) = (topology.size(), topology.epoch_of(core));
    let slots = slot::SLOTS;
    let lines = [
        "cluster_enabled:1".to_owned(),
        "cluster_state:ok".to_owned(),
        format!("cluster_slots_assigned:{slots}"),
        format!("cluster_slots_ok:{slots}"),
        "cluster_slots_pfail:0".to_owned(),
        "cluster_slots_fail:0".to_owned(),
        format!("cluster_known_nodes:{size}"),
        format!("cluster_size:{size}"),
        format!("cluster_current_epoch:{size}"),
        format!("cluster_my_epoch:{epoch}"),
        "cluster_stats_messages_sent:0".to_owned(),
        "cluster_stats_messages_received:0".to_owned(),
        "total_cluster_links_buffer_limit_exceeded:0".to_owned(),
    ];
    lines.iter().fold(String::new(), |mut text, line| {
        write!(text, "{line}\r\n").expect("writing to a string");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_of_redis_documentation() {
        assert_eq!(crate::slot::of_key(b"somekey"), 11_058);
        assert_eq!(crate::slot::of_key(b"foo{hash_tag}"), 2_515);
    }
}
