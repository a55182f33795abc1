//! The example `stand_in`, as a process of its own that `ask` checks.

use crate::example;
use crate::example::Ended;

/// Checks a stand-in with these options.
fn check(options: &[&str], arguments: &[&str]) -> Ended {
    let server = example::stand_in_with(options);
    let mut command = example::command("ask");
    example::run(command.args(["--check", "--url", server.url()]).args(arguments), "")
}

#[test]
fn it_offers_the_models_that_readme_names() {
    let ended = check(&[], &["-m", "my/model"]);
    let words = "It offers 3 models: h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v1, other/model, \
                 my/model. This client asks my/model.";
    assert!(ended.stdout.contains(words), "{ended:?}");
    let ended = check(&[], &["-m", "no/model"]);
    let words = "does not have the model \"no/model\"; it has h2oai/";
    assert!(ended.stderr.contains(words), "{ended:?}");
}

#[test]
fn its_options_lead_to_the_hints_of_a_check() {
    let ended = check(&["--login"], &[]);
    assert!(ended.stderr.contains("Log in with a browser"), "{ended:?}");
    let ended = check(&["--expects-https"], &[]);
    assert!(ended.stdout.contains("It considers itself an https server"), "{ended:?}");
    let ended = check(&["--dialect", "v0.7"], &[]);
    assert!(ended.stderr.contains("This crate supports chat-ui up to 0.6"), "{ended:?}");
}
