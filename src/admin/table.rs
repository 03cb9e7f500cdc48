//! A reply as tables, by its shape: a map is a line for each field, a list of maps a table with a column for each, and what
//! holds either gets a heading.
//!
//! Invariant: every value of the reply is printed; what does not fit the shape is a cell of JSON.

use super::value::Value;

/// Between two columns.
const GAP: &str = "  ";

/// The text to print, without a final line break.
pub(super) fn render(value: &Value) -> String {
    let mut blocks = Vec::new();
    blocks_of(value, &mut blocks);
    blocks.join("\n\n")
}

/// Paragraphs, each without a final line break.
fn blocks_of(value: &Value, blocks: &mut Vec<String>) {
    match value {
        Value::Map(fields) => {
            let (nested, plain): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| is_nested(value));
            if !plain.is_empty() || nested.is_empty() {
                blocks
                    .push(aligned(plain.iter().map(|(name, value)| vec![name.clone(), value.shown()]).collect(), &[]));
            }
            for (name, value) in nested {
                let mut inner = Vec::new();
                blocks_of(value, &mut inner);
                let first = inner.first_mut().expect("every value has a block");
                *first = format!("{name}\n{first}");
                blocks.append(&mut inner);
            }
        }
        Value::List(items) if items.is_empty() => blocks.push("(none)".to_owned()),
        Value::List(items) if items.iter().all(|item| matches!(item, Value::Map(_))) => blocks.push(table(items)),
        Value::List(items) => blocks.push(items.iter().map(Value::shown).collect::<Vec<_>>().join("\n")),
        single => blocks.push(single.shown()),
    }
}

fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Map(_) | Value::List(_))
}

/// One row a map, one column for every field that any of them has.
fn table(items: &[Value]) -> String {
    let fields = |item: &'_ Value| match item {
        Value::Map(fields) => fields.clone(),
        _ => Vec::new(),
    };
    let mut columns: Vec<String> = Vec::new();
    for (name, _) in items.iter().flat_map(fields) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    let rows: Vec<Vec<Value>> = items
        .iter()
        .map(|item| {
            let fields = fields(item);
            let cell =
                |column| fields.iter().find(|(name, _)| name == column).map_or(Value::Null, |(_, cell)| cell.clone());
            columns.iter().map(cell).collect()
        })
        .collect();
    // Numbers are compared by their ends.
    let is_number = |at: usize| rows.iter().all(|row| matches!(row[at], Value::Integer(_) | Value::Number(_)));
    let right: Vec<bool> = (0..columns.len()).map(is_number).collect();
    let cells = rows.iter().map(|row| row.iter().map(Value::shown).collect());
    aligned(std::iter::once(columns).chain(cells).collect(), &right)
}

/// Rows whose cells stand below each other; columns that `right` names end at the same place.
fn aligned(rows: Vec<Vec<String>>, right: &[bool]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width_of(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(at, cell)| {
            let width = widths[at];
            if right.get(at) == Some(&true) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(reply: &str) -> String {
        render(&Value::read(reply.replace(' ', "\r\n").as_bytes()))
    }

    #[test]
    fn a_map_and_a_table_with_headings() {
        let node = "+node %2 +id +ab +uptime :70 ";
        let cores = "+cores *2 %3 +core :0 +keys :1000 +level +ample %3 +core :1 +keys :9 +level +no_writes ";
        let expected = "node\nid      ab\nuptime  70\n\n\
                        cores\ncore  keys  level\n   0  1000  ample\n   1     9  no_writes";
        assert_eq!(rendered(&format!("%2 {node}{cores}")), expected);
    }

    #[test]
    fn plain_values_come_before_nested_ones() {
        assert_eq!(rendered("%2 +list *2 +a :1 +plain :7 "), "plain  7\n\nlist\na\n1");
        assert_eq!(rendered("+OK "), "OK");
        assert_eq!(rendered("*0 "), "(none)");
        assert_eq!(rendered("%0 "), "");
        assert_eq!(rendered("%1 +runs *0 "), "runs\n(none)");
    }

    #[test]
    fn rows_may_lack_fields() {
        assert_eq!(rendered("*2 %1 +a :1 %2 +a :20 +b +x "), " a  b\n 1  -\n20  x");
    }
}
