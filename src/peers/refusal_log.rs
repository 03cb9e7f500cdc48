//! Which refusals of strangers are worth a line in the log: each reason once a minute for each address, and not more than the disk
//! can take from somebody who knocks with ever new ones.
//!
//! Invariant: at most [`limits::REFUSALS_REMEMBERED`] lines in [`limits::REFUSAL_REMEMBERED_FOR`].

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Instant;

use super::limits;

#[derive(Debug)]
struct Logged {
    from: IpAddr,
    why: String,
    at: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    /// The oldest first.
    logged: Mutex<VecDeque<Logged>>,
}

impl RefusalLog {
    /// Whether a refusal is to be logged now; if so, it is remembered.
    pub(super) fn is_news(&self, from: IpAddr, why: &str, now: Instant) -> bool {
        let mut logged = self.logged.lock().expect("a panic ends the process");
        while logged.front().is_some_and(|oldest| now.duration_since(oldest.at) >= limits::REFUSAL_REMEMBERED_FOR) {
            logged.pop_front();
        }
        let is_known = logged.iter().any(|other| other.from == from && other.why == why);
        if is_known || logged.len() >= limits::REFUSALS_REMEMBERED {
            return false;
        }
        logged.push_back(Logged { from, why: why.to_owned(), at: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reason_is_logged_once_a_minute_and_only_so_many() {
        let (log, began) = (RefusalLog::default(), Instant::now());
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        assert!(log.is_news(one, "wrong secret", began) && log.is_news(other, "wrong secret", began));
        assert!(log.is_news(one, "loading", began));
        let later = began + Duration::from_secs(59);
        assert!(!log.is_news(one, "wrong secret", later));
        let much_later = began + Duration::from_secs(60);
        assert!(log.is_news(one, "wrong secret", much_later));
        let lines = (0..1000).filter(|number: &u32| log.is_news(one, &number.to_string(), much_later)).count();
        assert_eq!(lines, limits::REFUSALS_REMEMBERED - 1);
    }
}
