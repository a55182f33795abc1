//! The system prompt: some servers store it, the others get it before the first message.

use h2o_chat::{ErrorKind, Message, Request, Step, Tokens};

use crate::stand_in::StandIn;
use crate::support::{ALL, GREETING, Kind, client, each, opened_models, requests_of};

/// The system prompt that the server stores with the conversation.
fn preprompt(server: &StandIn) -> Option<String> {
    let opening = &requests_of(server, Step::CreateConversation)[0];
    opening.json()["preprompt"].as_str().map(str::to_owned)
}

/// Checks the stored system prompt, and the last prompt of the model.
fn assert_told(kind: Kind, server: &StandIn, classic: &str, current: &str) {
    let stored = (!kind.is_classic()).then_some("Be brief.");
    assert_eq!(preprompt(server).as_deref(), stored, "{kind:?}");
    let prompt = server.model_prompts().pop().unwrap();
    let text = if kind.is_classic() { classic } else { current };
    let system = stored.map_or(String::new(), |stored| format!("<|system|>{stored}<|endoftext|>"));
    let expected = format!("{system}<|prompt|>{text}<|endoftext|><|answer|>");
    assert_eq!(prompt, expected, "{kind:?}");
}

#[test]
fn a_leading_system_message_is_the_system_prompt() {
    let (system, hi) = (Message::system("Be brief."), Message::user("Hi"));
    each(ALL, |kind| {
        let server = kind.start();
        client(&server).ask([system.clone(), hi.clone()]).unwrap();
        let classic = "System: Be brief.\nUser: Hi\nAssistant:";
        assert_told(kind, &server, classic, "Hi");

        let server = kind.start();
        let rest = [Message::assistant("Hey"), Message::user("Bye")];
        let request = [system.clone(), hi.clone()].into_iter().chain(rest);
        client(&server).ask(Request::messages(request)).unwrap();
        let rest = "User: Hi\nAssistant: Hey\nUser: Bye\nAssistant:";
        let classic = format!("System: Be brief.\n{rest}");
        assert_told(kind, &server, &classic, rest);
    });
}

#[test]
fn a_conversation_can_have_a_system_prompt() {
    each(ALL, |kind| {
        let server = kind.start();
        let builder = client(&server).conversation_builder().model("other/model");
        let mut chat = builder.system("Be brief.").open().unwrap();
        chat.ask("Hi").unwrap();
        assert_told(kind, &server, "Be brief.\n\nHi", "Hi");
        chat.regenerate().unwrap().text().unwrap();
        assert_told(kind, &server, "Be brief.\n\nHi", "Hi");
        assert_eq!(opened_models(&server), ["other/model"], "{kind:?}");
    });
}

#[test]
fn a_kept_reply_keeps_its_system_prompt() {
    each(ALL, |kind| {
        let server = kind.start();
        let request = [Message::system("Be brief."), Message::user("Hi")];
        let mut tokens = client(&server).stream(request).unwrap();
        tokens.next().unwrap().unwrap();
        let mut chat = tokens.keep();
        assert_eq!(chat.regenerate().unwrap().text().unwrap(), GREETING, "{kind:?}");
        let classic = "System: Be brief.\nUser: Hi\nAssistant:";
        assert_told(kind, &server, classic, "Hi");
        assert_eq!(chat.messages().unwrap().len(), 2, "{kind:?}");
    });
}

#[test]
fn a_system_prompt_that_is_stored_cannot_be_changed() {
    each(ALL, |kind| {
        let server = kind.start();
        let request =
            |system: &str| Request::messages([Message::system(system), Message::user("Hi")]);
        let mut tokens = client(&server).stream(request("Be brief.")).unwrap();
        tokens.next().unwrap().unwrap();
        let mut chat = tokens.keep();
        let changed = chat.regenerate_with(|_| request("Be kind.")).and_then(Tokens::text);
        if kind.is_classic() {
            assert_eq!(changed.unwrap(), GREETING);
        } else {
            assert_eq!(changed.unwrap_err().kind(), ErrorKind::Unsupported, "{kind:?}");
            let text = chat.regenerate_with(|_| request("Be brief.")).unwrap().text();
            assert_eq!(text.unwrap(), GREETING, "{kind:?}");
        }
    });
}
