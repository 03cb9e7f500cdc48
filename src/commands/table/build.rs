//! Rows from one line of text each: the macro `rows!` and the constant functions behind it.
//!
//! `"name" arity (first last step) [FLAGS] "since" => served(…) or refused(…)`, then optional details.

use super::refusals::Refusal;
use super::{Command, Group, Keys, Route, Row, Service, category};

/// An array of rows of one group. An empty `()` means no keys at fixed positions.
macro_rules! rows {
    ($group:ident: $(
        $name:literal $arity:literal ($($first:literal $last:literal $step:literal)?) [$($flag:ident)*] $since:literal
        => $service:ident($($detail:tt)*) $(.$more:ident($($more_detail:tt)*))*;
    )*) => {
        {
            const COUNT: usize = [$($name),*].len();
            // A static of its own: a row has one address, whoever refers to it.
            static ROWS: [$crate::commands::table::Row; COUNT] = [$(
                $crate::commands::table::build::row(
                    $name, $arity, 0 $(| $crate::commands::table::flag::$flag)*,
                    $crate::commands::table::Group::$group, $since,
                )
                $(.keys($first, $last, $step))?
                .$service($($detail)*)
                $(.$more($($more_detail)*))*
            ),*];
            &ROWS
        }
    };
}
pub(super) use rows;

/// A row without keys, of its group's category.
pub(super) const fn row(name: &'static str, arity: i8, flags: u32, group: Group, since: &'static str) -> Row {
    Row {
        name,
        arity,
        flags,
        keys: None,
        route: Route::Session,
        service: Service::Refused(Refusal { why: "", instead: "" }),
        group,
        since,
        own_categories: category_of(group),
        access: 0,
        tips: &[],
        syntax: "",
        complexity: "",
        summary: "",
        deprecated: None,
        subcommands: &[],
    }
}

const fn category_of(group: Group) -> u32 {
    match group {
        Group::Bitmap => category::BITMAP,
        Group::Cluster | Group::Server | Group::Pubsub => 0,
        Group::Connection => category::CONNECTION,
        Group::Generic => category::KEYSPACE,
        Group::Geo => category::GEO,
        Group::Hash => category::HASH,
        Group::Hyperloglog => category::HYPERLOGLOG,
        Group::List => category::LIST,
        Group::Scripting => category::SCRIPTING,
        Group::Set => category::SET,
        Group::SortedSet => category::SORTEDSET,
        Group::Stream => category::STREAM,
        Group::String => category::STRING,
        Group::Transactions => category::TRANSACTION,
    }
}

impl Row {
    pub(super) const fn keys(mut self, first: u8, last: i8, step: u8) -> Self {
        assert!(first > 0 && step > 0);
        self.keys = Some(Keys { first, last, step });
        self
    }

    pub(super) const fn served(
        mut self,
        command: Command,
        route: Route,
        syntax: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        self.service = Service::Served(command);
        self.route = route;
        self.syntax = syntax;
        self.complexity = complexity;
        self.summary = summary;
        self
    }

    /// The HELP of a container.
    pub(super) const fn help(self) -> Self {
        self.served(Command::Help, Route::Session, "", "O(1)", "Lists the subcommands.")
    }

    pub(super) const fn refused(mut self, refusal: Refusal) -> Self {
        self.service = Service::Refused(refusal);
        self
    }

    pub(super) const fn access(mut self, access: u32) -> Self {
        self.access = access;
        self
    }

    /// Instead of the group's category.
    pub(super) const fn categories_instead(mut self, categories: u32) -> Self {
        self.own_categories = categories;
        self
    }

    pub(super) const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    pub(super) const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Self {
        self.deprecated = Some((since, replaced_by));
        self
    }

    /// A container has no category of its own.
    pub(super) const fn container(mut self, subcommands: &'static [Self]) -> Self {
        self.own_categories = 0;
        self.subcommands = subcommands;
        self
    }
}
