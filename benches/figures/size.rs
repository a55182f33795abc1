//! The size of a program with the crate.

use super::Outcome;
use super::cargo::{self, DEFAULT, NONE};
use super::table::Row;

pub fn rows(quick: bool) -> Outcome<Vec<Row>> {
    let row = |features: &'static [&str], which: &str| -> Outcome<Row> {
        let crates = cargo::crates(features)?;
        if quick {
            return Ok(Row::new("size", format!("{which}: {crates} crates")));
        }
        cargo::build_ask(features)?;
        let kib = cargo::size_of_ask()? / 1024;
        Ok(Row::new("size", format!("{which}: {crates} crates, `ask` has {kib} KiB")))
    };
    // The default features come last, because this build stays in the target directory.
    let none = row(NONE, "without features");
    Ok(vec![row(DEFAULT, "default features")?, none?])
}
