//! The public API, as a text that a change of it has to change as well: `tests/public_api.txt`.
//!
//! Told from the source, which is formatted by rustfmt: what is `pub` in a module that `lib.rs` exports from, and the
//! traits that it implements. `H2O_CHAT_BLESS=1 cargo test --test public_api` writes the text anew.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_public_api_is_what_was_agreed_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lib = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let exported = exported(&lib);
    let mut api: Vec<String> = sources(&root.join("src"))
        .iter()
        .flat_map(|path| items(&fs::read_to_string(path).unwrap(), &exported))
        .collect();
    api.sort();
    let api = api.join("\n") + "\n";

    let path = root.join("tests/public_api.txt");
    if env::var_os("H2O_CHAT_BLESS").is_some() {
        fs::write(&path, &api).unwrap();
    }
    let agreed = fs::read_to_string(&path).unwrap();
    for line in api
        .lines()
        .filter(|line| !agreed.lines().any(|other| other == *line))
    {
        println!("new: {line}");
    }
    for line in agreed
        .lines()
        .filter(|line| !api.lines().any(|other| other == *line))
    {
        println!("gone: {line}");
    }
    assert!(api == agreed, "the public API has changed");
}

/// The names that `pub use` hands on.
fn exported(lib: &str) -> Vec<String> {
    let uses = lib.split("pub use ").skip(1);
    let names = uses.flat_map(|rest| {
        let list = rest.split(';').next().unwrap_or_default();
        let list = list.rsplit("::").next().unwrap_or_default();
        list.split(|c: char| !c.is_alphanumeric() && c != '_')
    });
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| sources(folder));
    files.into_iter().chain(below).collect()
}

/// The public items of a module, one line each, behind the type that they belong to.
fn items(source: &str, exported: &[String]) -> Vec<String> {
    let mut items = Vec::new();
    let mut owner = None;
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("mod tests") || line.starts_with("mod properties") {
            break;
        }
        let code = line.trim_start();
        let is_outer = code.len() == line.len();
        let is_public = code.starts_with("pub ") && !code.starts_with("pub use ");
        let is_impl = is_outer && code.starts_with("impl");
        let is_variant = line.starts_with("    ") && code.starts_with(char::is_uppercase);
        if !(is_public || is_impl || is_variant) {
            if line == "}" {
                owner = None;
            }
            continue;
        }
        let item = whole(code, &mut lines);
        if is_outer {
            let name = owner_of(&item).filter(|name| exported.contains(name));
            if name.is_some() && (is_public || item.contains(" for ")) {
                items.push(item.clone());
            }
            // The variants of an enum are public, the names in an implementation are not.
            owner = name.map(|name| (name, item.starts_with("pub enum")));
        } else if let Some((name, is_enum)) = &owner
            && (is_public || *is_enum)
        {
            items.push(format!("{name}: {}", item.trim_end_matches(',')));
        }
    }
    items
}

/// An item up to its body, on one line.
fn whole<'a>(first: &'a str, rest: &mut impl Iterator<Item = &'a str>) -> String {
    let mut item = first.to_owned();
    while !item.ends_with(['{', ';', ',', '}']) && !item.contains(" {") {
        match rest.next() {
            Some(line) => item = format!("{item} {}", line.trim()),
            None => break,
        }
    }
    while item.contains('(') && item.matches('(').count() > item.matches(')').count() {
        match rest.next() {
            Some(line) => item = format!("{item} {}", line.trim()),
            None => break,
        }
    }
    let end = item.find(" {").unwrap_or(item.len());
    item[..end].trim_end_matches(';').to_owned()
}

/// The type that an item is, or implements something for.
fn owner_of(item: &str) -> Option<String> {
    let subject = match item.split_once(" for ") {
        Some((_, subject)) => subject,
        None if item.starts_with("impl") => item.split_once(' ')?.1,
        None => item.split(' ').nth(2)?,
    };
    let name = subject.split(|c: char| !c.is_alphanumeric() && c != '_');
    name.map(str::to_owned).find(|name| !name.is_empty())
}
