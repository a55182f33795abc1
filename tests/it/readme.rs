//! The commands in the README print what it shows.

use std::collections::HashMap;

use h2o_chat::Client;

use crate::example;
use crate::support::nobody;

const README: &str = include_str!("../../README.md");

/// The commands of the README's transcripts, each with the output that follows it.
fn transcripts() -> Vec<(&'static str, String)> {
    let blocks = README.split("```text\n").skip(1).filter_map(|rest| rest.split("```").next());
    let commands = blocks.filter_map(|block| block.strip_prefix("$ "));
    let commands = commands.flat_map(|block| block.split("\n$ "));
    let parts = commands.map(|command| command.split_once('\n').unwrap_or((command, "")));
    parts.map(|(command, output)| (command, words(output))).collect()
}

/// The output on one line: the README wraps long ones.
fn words(output: &str) -> String {
    output.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_transcripts_are_what_the_commands_print() {
    let server = example::stand_in();
    let (nobody, _port) = nobody();
    let login = example::stand_in_with(&["--dialect", "newest", "--login"]);
    let killed = Client::builder(server.url()).session("killed").build().unwrap();
    let kept = killed.conversation().unwrap().keep();
    let real = HashMap::from([
        ("127.0.0.1:3000", server.url().replace("http://", "")),
        ("127.0.0.1:3001", login.url().replace("http://", "")),
        ("127.0.0.1:3999", nobody),
        ("6b0484a3877c3227c1a46464", kept),
    ]);
    let real = |text: &str| {
        real.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(shown, real))
    };
    let transcripts = transcripts();
    assert!(transcripts.len() >= 8, "{transcripts:?}");
    for (command, output) in transcripts {
        let arguments = command.strip_prefix("cargo run --example ").unwrap();
        let (name, arguments) = arguments.split_once(" -- ").unwrap();
        let mut process = example::command(name);
        process.args(real(arguments).split_whitespace());
        let ended = example::run(&mut process, "");
        let printed = words(&format!("{} {}", ended.stdout, ended.stderr));
        assert_eq!(printed, real(&output), "{command}");
    }
}

#[test]
fn every_link_to_a_section_has_its_heading() {
    let heading = |line: &str| {
        let title = line.trim_start_matches('#').trim();
        let kept = title.chars().filter(|it| it.is_alphanumeric() || " -".contains(*it));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let headings: Vec<String> =
        README.lines().filter(|line| line.starts_with('#')).map(heading).collect();
    let links = README.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links {
        assert!(headings.iter().any(|heading| heading == link), "{link}: {headings:?}");
    }
}
