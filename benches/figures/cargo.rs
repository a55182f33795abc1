//! Measurements of other programs, which cargo builds or runs.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Outcome, example};

/// With the default features, and without.
pub const DEFAULT: &[&str] = &[];
pub const NONE: &[&str] = &["--no-default-features"];

/// Builds the example `ask` as it would be shipped: optimised, and without symbols.
pub fn build_ask(features: &[&str]) -> Outcome<()> {
    let arguments = ["rustc", "--locked", "--quiet", "--release", "--example", "ask"];
    output(&[&arguments, features, &["--", "-C", "strip=symbols"]].concat()).map(drop)
}

/// The command of the last build.
pub fn ask() -> Command {
    example::command("ask")
}

pub fn size_of_ask() -> Outcome<u64> {
    Ok(Path::new(ask().get_program()).metadata()?.len())
}

/// The number of crates in the tree, this one included.
pub fn crates(features: &[&str]) -> Outcome<usize> {
    let arguments = ["tree", "--locked", "-e", "normal", "--prefix", "none"];
    let tree = output(&[&arguments, features].concat())?;
    let mut crates: Vec<_> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.sort_unstable();
    crates.dedup();
    Ok(crates.len())
}

/// The number of allocations per token. A test counts them: its allocator would slow down the
/// benchmarks.
pub fn allocations() -> Outcome<f64> {
    let arguments = ["test", "--locked", "--quiet", "--release", "--test", "allocations"];
    let said = output(&[&arguments[..], &["--", "--nocapture"]].concat())?;
    let count = said.lines().find_map(|line| line.strip_suffix(" allocations a token"));
    Ok(count.ok_or("the test has printed no number")?.parse()?)
}

fn output(arguments: &[&str]) -> Outcome<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("cargo {}: {}", arguments.join(" "), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
