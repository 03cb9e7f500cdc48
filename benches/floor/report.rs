//! The figures, as lines while they come or as one JSON object at the end: parameters and figures by name, times in
//! microseconds.

use serde_json::{Map, Value};
use std::io::Write as _;

/// What was measured so far.
pub struct Report {
    as_json: bool,
    rows: Vec<Value>,
    notes: Vec<Value>,
}

impl Report {
    /// An empty one.
    pub fn new(as_json: bool) -> Report {
        Report { as_json, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds one measurement.
    pub fn row(&mut self, name: &str, parameters: &[(&str, u64)], figures: &[(&str, f64)]) {
        if self.as_json {
            let mut row = Map::new();
            row.insert("name".to_owned(), Value::from(name));
            row.extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))));
            row.extend(figures.iter().map(|(name, value)| ((*name).to_owned(), Value::from(rounded(*value)))));
            self.rows.push(row.into());
        } else {
            let parameters: String = parameters.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            let figures: String = figures.iter().map(|(name, value)| format!(" {name}={}", rounded(*value))).collect();
            print(&format!("{name:<6}{parameters} :{figures}"));
        }
    }

    /// Adds something to know.
    pub fn note(&mut self, text: &str) {
        if self.as_json { self.notes.push(Value::from(text)) } else { print(text) }
    }

    /// Prints the object.
    pub fn finish(self) {
        if self.as_json {
            print(&serde_json::json!({ "floor": self.rows, "notes": self.notes }).to_string());
        }
    }
}

fn print(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").expect("stdout takes a line");
}

/// Two digits behind the point where they say something.
fn rounded(value: f64) -> f64 {
    if value.abs() < 1000.0 { (value * 100.0).round() / 100.0 } else { value.round() }
}
