//! The served commands as numbers, to match on and to count by.
//!
//! A container has a variant of its own besides its subcommands' (COMMAND alone is a command too);
//! all HELP subcommands share one.

macro_rules! commands {
    ($($name:ident)*) => {
        /// A served command or subcommand.
        #[allow(missing_docs, reason = "the variants are the commands' names")]
        #[allow(clippy::enum_variant_names, reason = "COMMAND is a command")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Command { $($name),* }

        impl Command {
            /// Every one, by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

commands! {
    Get Set SetEx PSetEx GetSet GetDel GetEx MGet MSet StrLen GetRange Substr
    Del Unlink Exists Touch Type Expire PExpire ExpireAt PExpireAt Ttl PTtl ExpireTime PExpireTime Persist
    Keys Scan RandomKey
    Ping Echo Quit Reset Hello Auth Select
    Client ClientId ClientGetName ClientSetName ClientSetInfo ClientInfo ClientList ClientKill ClientReply
    ClientNoEvict ClientNoTouch
    Command CommandCount CommandDocs CommandGetKeys CommandGetKeysAndFlags CommandInfo CommandList
    Config ConfigGet ConfigSet ConfigResetStat
    DbSize FlushAll FlushDb Info Time Shutdown
    Latency LatencyHistogram
    Memory MemoryUsage
    SlowLog SlowLogGet SlowLogLen SlowLogReset
    Cluster ClusterCountKeysInSlot ClusterGetKeysInSlot ClusterInfo ClusterKeySlot ClusterLinks ClusterMyId
    ClusterMyShardId ClusterNodes ClusterShards ClusterSlots
    ReadOnly ReadWrite Asking
    DynGet DynPut DynDel DynConsistency Wait WaitAof
    DynAdmin DynAdminCompaction DynAdminHints DynAdminJoin DynAdminLeave DynAdminMembers DynAdminMerkle
    DynAdminPartitions DynAdminRing DynAdminScrub DynAdminSnapshot DynAdminStatus DynAdminSync
    Help
}

impl Command {
    /// How many there are: the length of a table by [`Command::index`].
    pub const COUNT: usize = Self::ALL.len();

    /// Its number, below [`Command::COUNT`].
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}
