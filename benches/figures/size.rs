//! What the crate brings into a program.

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
    // The other way round, so that the example is left as it is by default.
    let none = row(NONE, "without features");
    Ok(vec![row(DEFAULT, "default features")?, none?])
}
