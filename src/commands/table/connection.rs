//! Commands on the connection, CLIENT's subcommands among them.

use super::build::rows;
use super::refusals::{CLIENT_CACHES, NO_FAILOVER, NOTHING_BLOCKS};
use super::{Command::*, Route::*, Row};

const CHANGES_BY_ITSELF: &[&str] = &["nondeterministic_output"];

pub(super) static ROWS: &[Row] = rows! { Connection:
    "ping" -1 () [FAST] "1.0.0"
        => served(Ping, Session, "[message]", "O(1)", "Returns PONG, or the message.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]);
    "echo" 2 () [LOADING STALE FAST] "1.0.0"
        => served(Echo, Session, "message", "O(1)", "Returns the message.");
    "quit" -1 () [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] "1.0.0"
        => served(Quit, Session, "", "O(1)", "Closes the connection.")
        .deprecated("7.2.0", "just closing the connection");
    "reset" 1 () [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] "6.2.0"
        => served(Reset, Session, "", "O(1)", "Makes the connection as if it were new.");
    "hello" -1 () [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] "6.0.0"
        => served(Hello, Session, "[protover [AUTH username password] [SETNAME clientname]]", "O(1)",
            "Chooses the protocol, authenticates, and describes the server.");
    "auth" -2 () [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] "1.0.0"
        => served(Auth, Session, "[username] password", "O(1)", "Authenticates the connection.");
    "select" 2 () [LOADING STALE FAST] "1.0.0"
        => served(Select, Session, "index", "O(1)", "Chooses the database; there is only 0.");
    "client" -2 () [] "2.4.0"
        => served(Client, Session, "", "Depends on the subcommand.", "Holds the commands on client connections.")
        .container(CLIENT);
};

static CLIENT: &[Row] = rows! { Connection:
    "client|getname" 2 () [NOSCRIPT LOADING STALE] "2.6.9"
        => served(ClientGetName, Session, "", "O(1)", "Returns the connection's name.");
    "client|help" 2 () [LOADING STALE] "5.0.0" => help();
    "client|id" 2 () [NOSCRIPT LOADING STALE] "5.0.0"
        => served(ClientId, Session, "", "O(1)", "Returns the connection's number.");
    "client|info" 2 () [NOSCRIPT LOADING STALE] "6.2.0"
        => served(ClientInfo, Session, "", "O(1)", "Describes the connection.")
        .tips(CHANGES_BY_ITSELF);
    "client|kill" -3 () [ADMIN NOSCRIPT LOADING STALE] "2.4.0"
        => served(ClientKill, Session, "<ip:port | [ID client-id] [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] \
            [USER username] [ADDR ip:port] [LADDR ip:port] [SKIPME <YES | NO>]>",
            "O(N) for N connections", "Closes connections.");
    "client|list" -2 () [ADMIN NOSCRIPT LOADING STALE] "2.4.0"
        => served(ClientList, Session, "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
            "O(N) for N connections", "Describes the open connections.")
        .tips(CHANGES_BY_ITSELF);
    "client|no-evict" 3 () [ADMIN NOSCRIPT LOADING STALE] "7.0.0"
        => served(ClientNoEvict, Session, "<ON | OFF>", "O(1)",
            "Protects the connection from being closed when memory is short.");
    "client|no-touch" 3 () [NOSCRIPT LOADING STALE] "7.2.0"
        => served(ClientNoTouch, Session, "<ON | OFF>", "O(1)",
            "Chooses whether the connection's reads count as use of their keys.");
    "client|reply" 3 () [NOSCRIPT LOADING STALE] "3.2.0"
        => served(ClientReply, Session, "<ON | OFF | SKIP>", "O(1)", "Chooses whether the server replies.");
    "client|setinfo" 4 () [NOSCRIPT LOADING STALE] "7.2.0"
        => served(ClientSetInfo, Session, "<LIB-NAME libname | LIB-VER libver>", "O(1)",
            "Tells the client library's name or version.");
    "client|setname" 3 () [NOSCRIPT LOADING STALE] "2.6.9"
        => served(ClientSetName, Session, "connection-name", "O(1)", "Names the connection.");

    "client|caching" 3 () [NOSCRIPT LOADING STALE] "6.0.0" => refused(CLIENT_CACHES);
    "client|getredir" 2 () [NOSCRIPT LOADING STALE] "6.0.0" => refused(CLIENT_CACHES);
    "client|tracking" -3 () [NOSCRIPT LOADING STALE] "6.0.0" => refused(CLIENT_CACHES);
    "client|trackinginfo" 2 () [NOSCRIPT LOADING STALE] "6.2.0" => refused(CLIENT_CACHES);
    "client|pause" -3 () [ADMIN NOSCRIPT LOADING STALE] "2.9.50" => refused(NO_FAILOVER);
    "client|unpause" 2 () [ADMIN NOSCRIPT LOADING STALE] "6.2.0" => refused(NO_FAILOVER);
    "client|unblock" -3 () [ADMIN NOSCRIPT LOADING STALE] "5.0.0" => refused(NOTHING_BLOCKS);
};
