//! What is measured of other programs than this one, which cargo has to build or to run.

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

/// To run what was built last.
pub fn ask() -> Command {
    example::command("ask")
}

pub fn size_of_ask() -> Outcome<u64> {
    Ok(Path::new(ask().get_program()).metadata()?.len())
}

/// How many crates there are in the tree, this one included.
pub fn crates(features: &[&str]) -> Outcome<usize> {
    let arguments = ["tree", "--locked", "-e", "normal", "--prefix", "none"];
    let tree = output(&[&arguments, features].concat())?;
    let mut crates: Vec<_> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.sort_unstable();
    crates.dedup();
    Ok(crates.len())
}

/// How many allocations a token takes: a test counts them. Its allocator would slow down what is measured here.
pub fn allocations() -> Outcome<f64> {
    let arguments = ["test", "--locked", "--quiet", "--release", "--test", "allocations"];
    let said = output(&[&arguments[..], &["--", "--nocapture"]].concat())?;
    let count = said.lines().find_map(|line| line.strip_suffix(" allocations a token"));
    Ok(count.ok_or("the test has told no number")?.parse()?)
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
