//! The search for the highest rate that still meets a target of latency.
//!
//! The rate doubles until a step misses the target, then the gap is halved. A step misses when its p99.9 is above the target,
//! when there were errors, when fewer requests were answered than were due, or when the client could not make the rate.
//!
//! Invariant: the answer is a rate that was really run and met the target.

use crate::report::{Report, Step};

/// Times that the rate is doubled at most, and then the gap halved.
const DOUBLINGS_MAX: u32 = 24;
const HALVINGS: u32 = 5;
/// Part of the requests due that must be answered; how many are due in a short step is left to chance.
const ANSWERED_PART: f64 = 0.99;

/// Tries rates from `first` on; gives the steps, and the report of the best that met the target or else of the first.
pub fn search<E>(
    first: f64,
    slo_us: f64,
    mut run_at: impl FnMut(f64) -> Result<Report, E>,
) -> Result<(Vec<Step>, Report), E> {
    let mut steps = Vec::new();
    let mut best: Option<Report> = None;
    let mut try_rate = |rate: f64, best: &mut Option<Report>| -> Result<bool, E> {
        let report = run_at(rate)?;
        let step = judge(rate, slo_us, &report);
        let met = step.met;
        steps.push(step);
        if met || best.is_none() {
            *best = Some(report);
        }
        Ok(met)
    };
    let mut good = 0.0;
    let mut bad = None;
    let mut rate = first;
    for _ in 0..DOUBLINGS_MAX {
        if !try_rate(rate, &mut best)? {
            bad = Some(rate);
            break;
        }
        good = rate;
        rate *= 2.0;
    }
    if let Some(mut bad) = bad {
        for _ in 0..HALVINGS {
            let rate = f64::midpoint(good, bad);
            if try_rate(rate, &mut best)? { good = rate } else { bad = rate }
        }
    }
    Ok((steps, best.expect("at least one rate was tried")))
}

fn judge(rate: f64, slo_us: f64, report: &Report) -> Step {
    let errors = report.errors.values().sum();
    let generator_limited = report.generator.limited.is_some();
    let answered = report.due > 0 && report.replies as f64 >= report.due as f64 * ANSWERED_PART;
    let met = errors == 0 && answered && !generator_limited && report.latency.p999 <= slo_us;
    Step {
        rate,
        throughput: report.throughput,
        p50: report.latency.p50,
        p99: report.latency.p99,
        p999: report.latency.p999,
        errors,
        generator_limited,
        met,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{FORMAT, Generator, Latency};

    fn report(throughput: f64, p999: f64) -> Report {
        Report {
            format: FORMAT,
            started_unix_ms: 0,
            command: Vec::new(),
            endpoint: String::new(),
            workload: String::new(),
            mode: "open".to_owned(),
            rate: None,
            connections: 1,
            pipeline: 1,
            threads: 1,
            keys: 1,
            elapsed_s: 1.0,
            due: 1,
            replies: 1,
            throughput,
            errors: std::collections::BTreeMap::new(),
            latency: Latency { p999, ..Latency::default() },
            operations: std::collections::BTreeMap::new(),
            seconds: Vec::new(),
            generator: Generator::default(),
            verification: None,
            sweep: Vec::new(),
            slo_us: None,
        }
    }

    fn sweep(limit: f64) -> (Vec<Step>, Report) {
        let run =
            |rate: f64| Ok::<_, std::convert::Infallible>(report(rate, if rate <= limit { 900.0 } else { 5000.0 }));
        search(1000.0, 1000.0, run).unwrap()
    }

    #[test]
    fn finds_the_limit_within_the_last_gap() {
        for limit in [1000.0, 1700.0, 63_000.0, 1e6] {
            let (steps, best) = sweep(limit);
            assert!(best.throughput <= limit && best.throughput > limit * 0.9, "{limit}: {}", best.throughput);
            assert!(steps.iter().all(|step| step.met == (step.rate <= limit)));
        }
    }

    #[test]
    fn what_was_due_decides_and_not_the_rate_that_chance_made_of_it() {
        let few = Report { due: 15, replies: 15, ..report(150.0, 10.0) };
        assert!(judge(200.0, 1000.0, &few).met);
        assert!(!judge(200.0, 1000.0, &Report { replies: 14, ..few }).met);
    }

    #[test]
    fn says_when_nothing_met_the_target() {
        let (steps, _) = sweep(0.0);
        assert!(!steps.is_empty() && steps.iter().all(|step| !step.met));
    }
}
