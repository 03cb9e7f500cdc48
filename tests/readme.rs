//! The README's command table is the program's.

#[test]
fn the_command_table_is_true() {
    annulus::commands::table::check_readme(include_str!("../README.md")).unwrap();
}
