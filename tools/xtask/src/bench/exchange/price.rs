//! What of the bytes on the links is the price of mending: looks at counters, close to each other, and what they cost at rest.
//!
//! Comparing what is equal goes on all the time, and is most of what links carry. So only the time around each look that shows
//! something mended is counted, and from it is taken what equal comparisons cost. Those come in two kinds: at the usual rate,
//! one by one, and all at once in the first round of a node that has returned, many in a frame. Bytes by comparison and bytes by
//! second, found by watching both, tell them together.
//!
//! Pure but for asking nodes.
//!
//! Invariant: whatever is not known to be the cost of rest is a part of the price.

use super::super::node::ANSWER;
use super::super::scrape::Page;
use super::super::server::{METRICS_OFFSET, Server};
use std::time::Duration;

/// What belongs to something that was mended is sent no further from the look that shows it.
const NEAR: Duration = Duration::from_millis(100);
/// With less than so many times the rate of the other, two times at rest are of one kind.
const RATES_APART: f64 = 1.2;

/// What nodes have counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counts {
    pub link_bytes: u64,
    /// comparisons that found nothing
    pub equal: u64,
    pub differing: u64,
    pub keys: u64,
    pub objects_sent: u64,
    pub objects_received: u64,
}

impl Counts {
    /// Of all that run, together: one that starts counts from zero.
    pub fn of(server: &Server) -> Result<Counts, String> {
        let mut sum = Counts::default();
        for node in server.nodes().iter().filter(|node| node.is_running()) {
            let page = Page::of(node.port() + METRICS_OFFSET, ANSWER)?;
            sum.link_bytes += page.count("link_sent_bytes")?;
            sum.equal += page.count("exchanges_equal")?;
            sum.differing += page.count("exchanges_differing")?;
            sum.keys += page.count("exchange_keys")?;
            sum.objects_sent += page.count("exchange_objects_sent")?;
            sum.objects_received += page.count("exchange_objects_received")?;
        }
        Ok(sum)
    }

    pub fn since(&self, earlier: &Counts) -> Counts {
        let grown = |of: fn(&Counts) -> u64| of(self).saturating_sub(of(earlier));
        Counts {
            link_bytes: grown(|counts| counts.link_bytes),
            equal: grown(|counts| counts.equal),
            differing: grown(|counts| counts.differing),
            keys: grown(|counts| counts.keys),
            objects_sent: grown(|counts| counts.objects_sent),
            objects_received: grown(|counts| counts.objects_received),
        }
    }

    /// Whether anything was found or mended.
    pub fn has_mended(&self) -> bool {
        self.differing + self.keys + self.objects_sent + self.objects_received > 0
    }
}

/// The nodes at a time.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub at: Duration,
    pub counts: Counts,
}

/// Bytes and comparisons of some time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Span {
    pub bytes: u64,
    pub equal: u64,
    pub seconds: f64,
}

impl Span {
    /// Between two looks.
    pub fn between(earlier: &Look, later: &Look) -> Span {
        let grown = later.counts.since(&earlier.counts);
        let seconds = later.at.saturating_sub(earlier.at).as_secs_f64();
        Span { bytes: grown.link_bytes, equal: grown.equal, seconds }
    }

    /// All the time near which something was mended.
    pub fn of_mending(looks: &[Look]) -> Span {
        let has_mended = |pair: &&[Look]| pair[1].counts.since(&pair[0].counts).has_mended();
        let mended: Vec<&[Look]> = looks.windows(2).filter(has_mended).collect();
        let is_near = |pair: &&[Look]| {
            mended.iter().any(|other| pair[0].at <= other[1].at + NEAR && other[0].at <= pair[1].at + NEAR)
        };
        looks.windows(2).filter(is_near).fold(Span::default(), |sum, pair| {
            let one = Span::between(&pair[0], &pair[1]);
            Span { bytes: sum.bytes + one.bytes, equal: sum.equal + one.equal, seconds: sum.seconds + one.seconds }
        })
    }

    /// Comparisons that found nothing, a second.
    pub fn rate(&self) -> f64 {
        self.equal as f64 / self.seconds
    }
}

/// What links carry while nothing differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rest {
    /// by comparison
    pub comparison_bytes: f64,
    /// by second
    pub second_bytes: f64,
}

impl Rest {
    /// Out of two times in which nothing was mended, and in which comparisons came at different rates.
    pub fn of(usual: &Span, returned: &Span) -> Result<Rest, String> {
        if usual.equal == 0 || usual.seconds <= 0.0 {
            return Err("nothing was compared at rest".into());
        }
        let alone = Rest { comparison_bytes: usual.bytes as f64 / usual.equal as f64, second_bytes: 0.0 };
        let (slow, fast) = (usual.rate().min(returned.rate()), usual.rate().max(returned.rate()));
        if fast < RATES_APART * slow {
            return Ok(alone);
        }
        let area = usual.equal as f64 * returned.seconds - returned.equal as f64 * usual.seconds;
        let comparison = usual.bytes as f64 * returned.seconds - returned.bytes as f64 * usual.seconds;
        let comparison_bytes = comparison / area;
        let second_bytes = (usual.bytes as f64 - comparison_bytes * usual.equal as f64) / usual.seconds;
        if comparison_bytes < 0.0 || second_bytes < 0.0 {
            return Ok(alone);
        }
        Ok(Rest { comparison_bytes, second_bytes })
    }

    /// What it was in some time.
    pub fn bytes(&self, span: &Span) -> f64 {
        self.comparison_bytes * span.equal as f64 + self.second_bytes * span.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Span = Span { bytes: 30_000, equal: 200, seconds: 4.0 };

    fn look(ms: u64, link_bytes: u64, equal: u64, keys: u64) -> Look {
        let counts = Counts { link_bytes, equal, keys, ..Counts::default() };
        Look { at: Duration::from_millis(ms), counts }
    }

    #[test]
    fn rest_is_what_both_kinds_of_comparing_cost() {
        // 100 bytes each, and 2,500 a second; a thousand more come at once.
        let returned = Span { bytes: 100 * 1_200 + 10_000, equal: 1_200, seconds: 4.0 };
        let rest = Rest::of(&USUAL, &returned).unwrap();
        assert_eq!(rest, Rest { comparison_bytes: 100.0, second_bytes: 2_500.0 });
        assert_eq!((rest.bytes(&USUAL), rest.bytes(&returned)), (30_000.0, 130_000.0));
        assert_eq!(Rest::of(&returned, &USUAL).unwrap(), rest);
        let same = Span { bytes: 14_000, equal: 100, seconds: 2.0 };
        assert_eq!(Rest::of(&USUAL, &same).unwrap(), Rest { comparison_bytes: 150.0, second_bytes: 0.0 });
        assert!(Rest::of(&Span { equal: 0, ..USUAL }, &returned).is_err());
    }

    #[test]
    fn only_the_time_near_mending_counts() {
        let looks = [
            look(0, 0, 0, 0),
            look(1_000, 5_000, 50, 0),
            look(1_090, 5_400, 54, 0),
            look(1_110, 8_000, 55, 16),
            look(1_130, 8_100, 56, 16),
            look(1_300, 9_000, 65, 16),
            look(2_000, 12_000, 100, 16),
        ];
        let span = Span::of_mending(&looks);
        assert_eq!((span.bytes, span.equal), (12_000 - 3_000, 65), "all but the last pair touches what is near");
        assert!((span.seconds - 1.3).abs() < 1e-9);
        let later = Span::of_mending(&looks[1..6]);
        assert_eq!((later.bytes, later.equal), (4_000, 15));
        assert_eq!(Span::of_mending(&looks[5..]), Span::default());
    }

    #[test]
    fn counts_grow_by_themselves() {
        let before = Counts { link_bytes: 30_000, equal: 200, ..Counts::default() };
        let now = Counts { link_bytes: 31_000, equal: 205, objects_received: 3, ..before };
        let grown = now.since(&before);
        assert_eq!((grown.link_bytes, grown.equal, grown.objects_received), (1_000, 5, 3));
        assert!(grown.has_mended() && !before.since(&before).has_mended());
    }
}
