//! The public API: what it promises, that it is shown, and what it is, as a text that a change of it has to change as
//! well: `tests/public_api.txt`.
//!
//! That is told from the source, which is formatted by rustfmt: what is `pub` in a module that `lib.rs` exports from, and the
//! traits that it implements. `H2O_CHAT_BLESS=1 cargo test --test public_api` writes the text anew.

use std::env;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};

use h2o_chat::{
    Client, ClientBuilder, Conversation, ConversationBuilder, Error, Event, Proxy, Reply, Request,
    ServerInfo, Session, Stop, Tokens,
};

/// Something public, and what is said before it.
struct Item {
    /// On one line, behind the type that it belongs to.
    text: String,
    /// Those that a user can depend on.
    attributes: Vec<String>,
    has_example: bool,
}

impl Item {
    fn line(&self) -> String {
        let attributes = self
            .attributes
            .iter()
            .map(|attribute| format!(" {attribute}"));
        self.text.clone() + &attributes.collect::<String>()
    }

    /// A field or a variant is shown by the example of its type.
    fn wants_example(&self) -> bool {
        let code = self.text.rsplit(": pub ").next().unwrap_or_default();
        let code = code.trim_start_matches("pub ");
        ["fn ", "struct ", "enum ", "const ", "type "]
            .iter()
            .any(|kind| code.starts_with(kind))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn public_api() -> Vec<Item> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let exported = exported(&lib);
    let sources = sources(&root().join("src"));
    let sources = sources.iter().map(|path| fs::read_to_string(path).unwrap());
    let of_source = |source: String| {
        assert!(!source.contains("macro_export"), "a macro is public");
        items(&source, &exported)
    };
    sources.flat_map(of_source).collect()
}

#[test]
fn the_public_api_is_what_was_agreed_on() {
    let mut api: Vec<String> = public_api().iter().map(Item::line).collect();
    api.sort();
    let api = api.join("\n") + "\n";

    let path = root().join("tests/public_api.txt");
    if env::var_os("H2O_CHAT_BLESS").is_some() {
        fs::write(&path, &api).unwrap();
    }
    let agreed = fs::read_to_string(&path).unwrap();
    for (what, some, others) in [("new", &api, &agreed), ("gone", &agreed, &api)] {
        let lines = some.lines();
        for line in lines.filter(|line| !others.lines().any(|other| other == *line)) {
            println!("{what}: {line}");
        }
    }
    assert!(api == agreed, "the public API has changed");
}

#[test]
fn everything_public_has_an_example() {
    let api = public_api();
    let (mut wanted, mut lacking) = (0, Vec::new());
    for item in api.iter().filter(|item| item.wants_example()) {
        wanted += 1;
        if !item.has_example {
            lacking.push(&item.text);
        }
    }
    assert!(wanted > 100, "{wanted}");
    assert!(lacking.is_empty(), "{lacking:#?}");
}

/// A program moves them to other threads, and shares them, whatever is added to them.
#[test]
fn what_a_program_holds_can_go_to_other_threads() {
    fn can<T: Send + Sync + Unpin + 'static>() {}
    can::<Client>();
    can::<ClientBuilder>();
    can::<Conversation>();
    can::<ConversationBuilder>();
    can::<Error>();
    can::<Event>();
    can::<Proxy>();
    can::<Reply>();
    can::<Request>();
    can::<ServerInfo>();
    can::<Session>();
    can::<Stop>();
    can::<Tokens<'static>>();
}

/// A result is as large as what it brings.
#[test]
fn an_error_is_one_pointer_wide() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<h2o_chat::Result<()>>(), size_of::<usize>());
    assert_eq!(size_of::<h2o_chat::Result<String>>(), size_of::<String>());
}

/// The names that `pub use` hands on. Nothing else is public.
fn exported(lib: &str) -> Vec<String> {
    for line in lib.lines().filter(|line| line.trim().starts_with("pub ")) {
        let is_of_names =
            line.starts_with("pub use ") && !line.contains('*') && !line.contains(" as ");
        assert!(is_of_names, "{line}");
    }
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
fn items(source: &str, exported: &[String]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut owner = None;
    let mut before = Before::default();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("mod tests") || line.starts_with("mod properties") {
            break;
        }
        let code = line.trim_start();
        if before.takes(code) {
            continue;
        }
        let before = mem::take(&mut before);
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
            // Of what is implemented, either side may be a type of this crate, and not of another's path.
            let words = || item.split(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
            let is_ours = || words().any(|word| exported.iter().any(|name| name == word));
            if name.is_some() && is_public || item.contains(" for ") && is_ours() {
                items.push(before.of(item.clone()));
            }
            // The variants of an enum are public, the names in an implementation are not.
            owner = name.map(|name| (name, item.starts_with("pub enum")));
        } else if let Some((name, is_enum)) = &owner
            && (is_public || *is_enum)
        {
            items.push(before.of(format!("{name}: {}", item.trim_end_matches(','))));
        }
    }
    items
}

/// What stands before an item.
#[derive(Default)]
struct Before {
    attributes: Vec<String>,
    has_example: bool,
    in_example: bool,
}

impl Before {
    /// Whether this is a line of it.
    fn takes(&mut self, code: &str) -> bool {
        let is_attribute = code.starts_with("#[") && !code.starts_with("#[must_use");
        if let Some(fence) = code.strip_prefix("/// ```") {
            // One that must not compile shows how not to do it.
            self.has_example |= !self.in_example && !fence.starts_with("compile_fail");
            self.in_example = !self.in_example;
        } else if is_attribute {
            self.attributes.push(code.to_owned());
        }
        code.starts_with("///") || code.starts_with("#[")
    }

    fn of(self, text: String) -> Item {
        Item {
            text,
            attributes: self.attributes,
            has_example: self.has_example,
        }
    }
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
