//! `cargo xtask placement`: how evenly partitions are placed and how little moves, as tables, and as the Dynamo paper's Figure 8.
//!
//! The paper's section 6.2 compares strategies by load-balancing efficiency (mean load over the load of the busiest node) at S = 30
//! nodes and N = 3 copies, against what each node has to keep to know the ring. Its three strategies are computed beside ours from
//! the same definitions; `strategies` says what is counted.
//!
//! Invariant: everything that is promised of placement is checked here, and the chore fails when it does not hold. Only the
//! times differ between two runs.

mod changes;
mod figure;
mod ours;
mod strategies;

use std::path::PathBuf;

use changes::Changes;
use strategies::{Point, Strategy};

#[derive(clap::Args)]
pub struct Arguments {
    /// Draws the figure into this file, as SVG
    #[arg(long, value_name = "FILE")]
    figure: Option<PathBuf>,
    /// Clusters, or draws of tokens, that each figure is the mean of
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
}

/// Nodes and copies in the paper's figure.
const NODES: u64 = 30;
const COPIES: u8 = 3;
/// What is promised.
const EFFICIENCY_MIN: f64 = 0.95;
const MOVES_MAX: f64 = 1.3;

/// Prints all tables, draws the figure, and says what does not hold.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let mut broken = Vec::new();
    let curves = balance(arguments.seeds, &mut broken);
    growth(arguments.seeds, &mut broken);
    moves(arguments.seeds, &mut broken);
    times();
    if let Some(path) = &arguments.figure {
        figure::draw(path, &curves)?;
        println!("\nthe figure is in {}", path.display());
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ")) }
}

/// The figure as a table: efficiency over what each node keeps.
fn balance(seeds: u64, broken: &mut Vec<String>) -> Vec<(String, Vec<Point>)> {
    println!("Efficiency (mean load / greatest load) with S = {NODES}, N = {COPIES}; mean and worst of {seeds}.");
    println!("Units: a token, or the place of a partition; of our map, 8 bytes.\n");
    println!("| strategy | parameter | units | mean | worst |\n|---|--:|--:|--:|--:|");
    let mut curves = Vec::new();
    for strategy in [Strategy::RandomTokens, Strategy::TokensAndPartitions, Strategy::EqualTokens] {
        let points: Vec<Point> =
            (0..=10).map(|power| strategies::efficiency(strategy, NODES, 1 << power, COPIES, seeds)).collect();
        curves.push((strategy.name().to_string(), points));
    }
    let partitions = [256, 512, 1024, 2048, 4096, 8192, 16_384];
    let points: Vec<Point> = partitions.iter().map(|q| ours::efficiency(NODES, 1, *q, COPIES, seeds)).collect();
    for point in points.iter().filter(|point| point.worst < EFFICIENCY_MIN) {
        broken.push(format!("{} of S = {NODES}: efficiency {:.3}", point.parameter, point.worst));
    }
    curves.push(("ours".to_string(), points));
    for (name, points) in &curves {
        for Point { parameter, units, mean, worst } in points {
            println!("| {name} | {parameter} | {units:.0} | {mean:.3} | {worst:.3} |");
        }
    }
    curves
}

/// What each node keeps grows with the nodes, not with the partitions.
fn growth(seeds: u64, broken: &mut Vec<String>) {
    println!("\nOurs with 4096 partitions, N = {COPIES}, three zones, over the number of nodes:\n");
    println!("| S | bytes of the map | a node | fair share | mean | worst |\n|--:|--:|--:|--:|--:|--:|");
    for nodes in [3, 6, 12, 30, 60, 120, 300] {
        let point = ours::efficiency(nodes, 3, 4096, COPIES, seeds.min(5));
        let bytes = point.units * 8.0;
        let share = 4096.0 * f64::from(COPIES) / nodes as f64;
        let (each, mean, worst) = (bytes / nodes as f64, point.mean, point.worst);
        println!("| {nodes} | {bytes:.0} | {each:.0} | {share:.0} | {mean:.3} | {worst:.3} |");
        // With a share of a few copies one copy more is more than 5 %.
        if share >= 20.0 && worst < EFFICIENCY_MIN {
            broken.push(format!("S = {nodes}, 4096 partitions: efficiency {worst:.3}"));
        }
    }
}

fn moves(seeds: u64, broken: &mut Vec<String>) {
    println!(
        "\nCopies that move when a node joins, and leaves, over its fair share; mean and worst of {seeds} clusters.\n"
    );
    println!(
        "| Q | S | zones | weights | join | worst | leave | worst | greatest load / fair | zone violations | at most |"
    );
    println!("|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|");
    for (partitions, nodes, zones, weights, is_promised) in changes::CASES {
        let changes = Changes::measure(partitions, nodes, zones, weights, COPIES, seeds);
        let Changes { join, leave, load, violations } = &changes;
        println!(
            "| {partitions} | {nodes} | {zones} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {load:.3} | {violations} | {} |",
            weights.name(),
            join.mean,
            join.worst,
            leave.mean,
            leave.worst,
            if is_promised { MOVES_MAX.to_string() } else { "-".to_string() },
        );
        let of = format!("{partitions} partitions, {nodes} nodes, {zones} zones");
        if *violations > 0 {
            broken.push(format!("{of}: {violations} partitions in too few zones"));
        }
        if is_promised && join.worst.max(leave.worst) > MOVES_MAX {
            broken.push(format!("{of}: {:.2} times the ideal moves", join.worst.max(leave.worst)));
        }
    }
}

fn times() {
    if cfg!(debug_assertions) {
        println!("\nHow long a ring takes is measured in a release build: cargo run --release -p xtask -- placement");
        return;
    }
    println!("\nTime to make a ring:\n\n| Q | S | zones | ms |\n|--:|--:|--:|--:|");
    for (partitions, nodes, zones) in [
        (1024, 3, 1),
        (1024, 30, 3),
        (4096, 100, 3),
        (4096, 1000, 1),
        (4096, 1000, 10),
        (4096, 1000, 1000),
        (16_384, 1000, 10),
    ] {
        let members = ours::members(1, nodes, zones, |_| 100);
        let started = std::time::Instant::now();
        let ring = ours::ring(&members, partitions, COPIES);
        let took = started.elapsed().as_secs_f64() * 1e3;
        assert_eq!(ring.copies(), usize::from(COPIES));
        println!("| {partitions} | {nodes} | {zones} | {took:.1} |");
    }
}
