//! Which nodes may take a copy of the partition at hand, so that caps and zones can be kept for all partitions still to come.
//!
//! Partitions are seated in order, each at the best scores that have room. Without foresight light zones would be full before the last
//! partitions, which then would find rooms in too few zones. So a node is passed over when nothing good could follow. That is exact
//! and cheap, because the R partitions to come are alike. With
//!
//! ```text
//! usable(z) = Σ min(rooms of the node, R)  over the nodes of zone z
//! ```
//!
//! they can be seated if and only if `usable(z) >= R · least(z)` for every zone and `Σ min(usable(z), R · most(z)) >= R · copies`.
//! While one partition is seated usable(z) falls by one for each node that has rooms for all that are to go, chosen or not, and for
//! each other node that is chosen. The second sum therefore loses nothing by a node of the first kind; nor by others as long
//! as their zone has more than it can use; and one by each of the rest. [`Demand`] counts that for the best way to go on.
//!
//! Invariant: what is still to come can be seated, always; so every partition finds all its seats.

use super::share::Spread;

/// More than can ever be lost: there is no way to go on.
const IMPOSSIBLE: i64 = 1 << 40;

/// The rooms, and the partition that is being seated.
#[derive(Debug)]
pub(crate) struct Seating {
    copies: i64,
    /// Of each node.
    zone_of: Vec<u16>,
    /// How many more copies each node may take.
    rooms: Vec<i64>,
    zones: Vec<Zone>,
    /// Partitions to go, the one at hand included.
    to_go: i64,
    /// Copies of the partition at hand that have no seat yet.
    missing: i64,
    /// What the sum may lose.
    slack: i64,
    /// Of all zones.
    demand: Demand,
}

/// A zone, and what the partition at hand has taken there.
#[derive(Debug, Clone, Copy)]
struct Zone {
    least: i64,
    most: i64,
    /// How far usable(z) may fall before the least of the partitions to come, and the most, is no longer there. Below zero it
    /// already is less.
    above_least: i64,
    above_most: i64,
    /// Nodes without a copy of the partition yet that have rooms for all that are to go.
    critical: i64,
    /// Other nodes without a copy that have a room.
    others: i64,
    /// Copies of the partition here, and those of them that are not at critical nodes.
    taken: i64,
    taken_of_others: i64,
}

/// What the partition at hand still needs, and what that costs at the least.
#[derive(Debug, Clone, Copy, Default)]
struct Demand {
    /// Copies that zones lack of their least.
    lacking: i64,
    /// What the sum loses by what was taken and by what is lacking.
    loss: i64,
    /// Zones that can take one more copy than the least, and those where it costs nothing.
    extra: i64,
    extra_free: i64,
}

impl Zone {
    fn demand(&self) -> Demand {
        let possible = self.others.min(self.above_least - self.taken_of_others);
        if possible < 0 {
            return Demand { loss: IMPOSSIBLE, ..Demand::default() };
        }
        let any = self.critical + possible;
        let free = self.critical + possible.min((self.above_most - self.taken_of_others).max(0));
        let lacking = (self.least - self.taken).max(0);
        let loss = (self.taken_of_others - self.above_most).max(0) + (lacking - free).max(0);
        let has_extra = self.most > self.taken.max(self.least) && any > lacking;
        Demand {
            lacking,
            loss: if any < lacking { IMPOSSIBLE } else { loss },
            extra: i64::from(has_extra),
            extra_free: i64::from(has_extra && free > lacking),
        }
    }
}

impl Demand {
    fn plus(self, other: Self) -> Self {
        Self {
            lacking: self.lacking + other.lacking,
            loss: self.loss + other.loss,
            extra: self.extra + other.extra,
            extra_free: self.extra_free + other.extra_free,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            lacking: self.lacking - other.lacking,
            loss: self.loss - other.loss,
            extra: self.extra - other.extra,
            extra_free: self.extra_free - other.extra_free,
        }
    }

    fn can_be_met(&self, missing: i64, slack: i64) -> bool {
        let extra = missing - self.lacking;
        extra >= 0 && extra <= self.extra && self.loss + (extra - self.extra_free).max(0) <= slack
    }
}

impl Seating {
    /// Empty seats: `zone_of` and `caps` by node, `spreads` by zone.
    pub(crate) fn new(zone_of: Vec<u16>, spreads: &[Spread], caps: &[u32], copies: u32) -> Self {
        let zone = |spread: &Spread| Zone {
            least: i64::from(spread.least),
            most: i64::from(spread.most),
            above_least: 0,
            above_most: 0,
            critical: 0,
            others: 0,
            taken: 0,
            taken_of_others: 0,
        };
        Self {
            copies: i64::from(copies),
            zone_of,
            rooms: caps.iter().map(|cap| i64::from(*cap)).collect(),
            zones: spreads.iter().map(zone).collect(),
            to_go: 0,
            missing: 0,
            slack: 0,
            demand: Demand::default(),
        }
    }

    /// A partition takes its seats; `to_go` counts it and those after it.
    pub(crate) fn begin(&mut self, to_go: u32) {
        assert_eq!(self.missing, 0, "the partition before has all its seats");
        self.to_go = i64::from(to_go);
        self.missing = self.copies;
        for zone in &mut self.zones {
            let after = self.to_go - 1;
            *zone = Zone {
                above_least: -zone.least * after,
                above_most: -zone.most * after,
                critical: 0,
                others: 0,
                taken: 0,
                taken_of_others: 0,
                ..*zone
            };
        }
        for (rooms, zone) in self.rooms.iter().zip(&self.zone_of) {
            let zone = &mut self.zones[usize::from(*zone)];
            let is_critical = *rooms >= self.to_go;
            let usable = (*rooms).min(self.to_go) - i64::from(is_critical);
            zone.above_least += usable;
            zone.above_most += usable;
            zone.critical += i64::from(is_critical);
            zone.others += i64::from(*rooms > 0 && !is_critical);
        }
        let most: i64 = self.zones.iter().map(|zone| zone.most).sum();
        self.slack = (most - self.copies) * (self.to_go - 1);
        self.demand = self.zones.iter().map(Zone::demand).fold(Demand::default(), Demand::plus);
        assert!(self.demand.can_be_met(self.missing, self.slack), "shares fit zones, and caps are above shares");
    }

    /// Whether every copy of the partition has its seat.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Seats a copy at `node`, which has none of this partition, if it has a room and all others can be seated then.
    pub(crate) fn take(&mut self, node: u16) -> bool {
        let rooms = self.rooms[usize::from(node)];
        let number = usize::from(self.zone_of[usize::from(node)]);
        let (before, mut after) = (self.zones[number], self.zones[number]);
        if rooms == 0 || before.taken == before.most {
            return false;
        }
        if rooms >= self.to_go {
            after.critical -= 1;
        } else {
            after.others -= 1;
            after.taken_of_others += 1;
        }
        after.taken += 1;
        let demand = self.demand.minus(before.demand()).plus(after.demand());
        let may = demand.can_be_met(self.missing - 1, self.slack);
        if may {
            self.missing -= 1;
            self.demand = demand;
            self.zones[number] = after;
            self.rooms[usize::from(node)] -= 1;
        }
        may
    }
}
