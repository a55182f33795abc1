//! Files that go with a prompt, and the tools that the model may use.

use std::fs;

use h2o_chat::{Attachment, ErrorKind, Request, Step};
use serde_json::json;

use crate::stand_in::{Dialect, File};
use crate::support::{
    ALL, EVERY, FORM, GREETING, Kind, NEWEST, V0_9_5, assert_nothing_left, builder, client, count,
    each,
};

/// A picture of one pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\
    \x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";

impl Kind {
    fn takes_files(self) -> bool {
        matches!(self.dialect, Dialect::Form | Dialect::V095 | Dialect::Newest)
    }
}

fn file(name: &str, media_type: &str, content: impl Into<Vec<u8>>) -> File {
    File { name: name.to_owned(), media_type: media_type.to_owned(), content: content.into() }
}

#[test]
fn attachments_arrive_byte_for_byte_or_are_refused() {
    each(EVERY, |kind| {
        let server = kind.builder().media_types(&[]).start();
        let client = client(&server);
        let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
        let request = Request::new("What is this?")
            .attach(Attachment::new("a \"pixel\" ü.png", "image/png", PNG))
            .attach(Attachment::new("bytes", "application/octet-stream", every_byte.clone()));
        for _ in 0..2 {
            let reply = client.ask(request.clone());
            if !kind.takes_files() {
                assert_eq!(reply.unwrap_err().kind(), ErrorKind::Unsupported, "{kind:?}");
                continue;
            }
            assert_eq!(reply.unwrap(), GREETING, "{kind:?}");
            let sent = [
                file("a \"pixel\" ü.png", "image/png", PNG),
                file("bytes", "application/octet-stream", every_byte.clone()),
            ];
            assert_eq!(server.files().pop().unwrap(), sent, "{kind:?}");
        }
        assert_nothing_left(&server);
    });
}

#[test]
fn a_refused_attachment_leaves_the_conversation_as_it_was() {
    each(ALL, |kind| {
        let server = kind.start();
        let mut chat = client(&server).conversation().unwrap();
        let request = Request::new("What is this?").attach(Attachment::new("a", "image/png", PNG));
        assert_eq!(chat.ask(request).unwrap_err().kind(), ErrorKind::Unsupported, "{kind:?}");
        assert_eq!(count(&server, Step::SendMessage), 0, "{kind:?}");
        assert_eq!(chat.ask("hello").unwrap(), GREETING, "{kind:?}");
        assert_eq!(chat.messages().unwrap().len(), 2, "{kind:?}");
    });
}

#[test]
fn the_list_of_models_decides_and_is_asked_once() {
    /// The types of the list, an attachment, and part of the error.
    type Row<'a> = (Option<&'a [&'a str]>, &'a str, Option<&'a str>);
    let rows: [Row; 12] = [
        (None, "image/png", Some("takes no image/png")),
        (None, "text/markdown", None),
        (None, "application/json", None),
        (Some(&[]), "image/png", None),
        (Some(&[]), "video/mp4", None),
        (Some(&["image/png", "image/webp"]), "image/png", None),
        (Some(&["image/png", "image/webp"]), "image/gif", Some("only image/png, image/webp")),
        (Some(&["image/*"]), "image/gif", None),
        (Some(&["image/*"]), "application/pdf", Some("only image/*")),
        (Some(&["image/*"]), "Image/PNG", None),
        (Some(&["application/pdf"]), "application/pdf; x=y", None),
        (Some(&["*/*"]), "image/png", None),
    ];
    each(rows, |(types, media_type, refusal)| {
        let server = NEWEST.builder();
        let server = types.map_or(NEWEST.builder(), |types| server.media_types(types)).start();
        let client = client(&server);
        client.ask("hello").unwrap();
        let before = count(&server, Step::ListModels);
        for _ in 0..2 {
            let attachment = Attachment::new("file", media_type, "x");
            let reply = client.ask(Request::new("hello").attach(attachment));
            match refusal {
                None => assert_eq!(reply.unwrap(), GREETING, "{types:?} {media_type}"),
                Some(words) => {
                    let error = reply.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                    assert!(error.to_string().contains(words), "{error}");
                }
            }
        }
        assert_eq!(count(&server, Step::ListModels), before + 1, "{types:?} {media_type}");
    });
}

#[test]
fn older_servers_take_text_only_if_the_model_takes_files() {
    each([FORM, V0_9_5], |kind| {
        let server = kind.start();
        let client = client(&server);
        client.ask("hello").unwrap();
        let request = Request::new("hello").attach(Attachment::new("a.md", "text/markdown", "x"));
        let error = client.ask(request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{kind:?} {error}");
    });
}

#[test]
fn a_server_without_an_api_decides_itself() {
    let server = NEWEST.builder().api_disabled().start();
    let request = Request::new("hello").attach(Attachment::new("a.png", "image/png", PNG));
    assert_eq!(builder(&server).build().unwrap().ask(request).unwrap(), GREETING);
    assert_eq!(server.files(), [[file("a.png", "image/png", PNG)]]);
}

#[test]
fn a_regenerated_reply_has_its_attachments_and_a_replaced_prompt_its_own() {
    let server = NEWEST.builder().media_types(&[]).start();
    let mut chat = client(&server).conversation().unwrap();
    let first = Attachment::new("first.png", "image/png", PNG);
    chat.ask(Request::new("What is this?").attach(first)).unwrap();
    chat.regenerate().unwrap().text().unwrap();
    let second = Attachment::new("second.png", "image/png", PNG);
    chat.regenerate_with(|request| request.attach(second)).unwrap().text().unwrap();
    let names = |files: &Vec<File>| files.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    let names: Vec<_> = server.files().iter().map(names).collect();
    // The server has the files of a message whose reply is generated again.
    assert_eq!(names, [vec!["first.png"], vec![], vec!["first.png", "second.png"]]);
    assert_eq!(server.model_prompts()[2], server.model_prompts()[0]);
}

#[test]
fn invalid_attachments_are_refused_before_anything_is_sent() {
    let server = NEWEST.builder().media_types(&[]).start();
    let client = client(&server);
    let too_large = vec![0; (10 << 20) + 1];
    for (name, media_type, content, words) in [
        ("", "image/png", vec![0], "invalid name \"\""),
        ("a\r\nb", "image/png", vec![0], "invalid name \"a\\r\\nb\""),
        ("a", "", vec![0], "invalid media type \"\""),
        ("a", "png", vec![0], "invalid media type \"png\""),
        ("a", "image/png\r\nX: y", vec![0], "invalid media type"),
        ("a", "image/png", vec![], "\"a\" is empty"),
        ("a", "image/png", too_large, "larger than 10485760 bytes"),
    ] {
        let attachment = Attachment::new(name, media_type, content);
        let error = client.ask(Request::new("hello").attach(attachment)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(server.counts().requests, 0);
    // Each is small enough, but not both.
    let half = Attachment::new("half", "image/png", vec![0; 6 << 20]);
    let request = Request::new("hello").attach(half.clone()).attach(half);
    let error = client.ask(request.clone()).unwrap_err();
    assert!(error.to_string().contains("accepts at most 15728640"), "{error}");
    assert_eq!(server.counts().created, 0);
    let requests = server.counts().requests;
    client.ask(request).unwrap_err();
    assert_eq!(server.counts().requests, requests);
}

#[test]
fn a_file_is_read_with_the_media_type_of_its_extension() {
    let directory = std::env::temp_dir().join(format!("h2o-chat-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("pixel.PNG");
    fs::write(&path, PNG).unwrap();
    let attachment = Attachment::from_path(&path).unwrap();
    assert_eq!(attachment, Attachment::new("pixel.PNG", "image/png", PNG));
    assert_eq!(
        format!("{attachment:?}"),
        "Attachment { name: \"pixel.PNG\", media_type: \"image/png\", content: 70 bytes }"
    );
    fs::write(directory.join("empty.txt"), "").unwrap();
    for (name, words) in [
        ("missing.png", "cannot be read"),
        ("pixel", "is not known by its extension"),
        ("pixel.exe", "is not known by its extension"),
        ("empty.txt", "is empty"),
    ] {
        let error = Attachment::from_path(directory.join(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_server_whose_version_is_hidden_is_told_which_tools() {
    let server = NEWEST.builder().hides_root().hides_version().start();
    let client = client(&server);
    for _ in 0..2 {
        assert_eq!(client.ask("hello").unwrap(), GREETING);
    }
    assert_eq!(server.offered_tools(), [json!([]), json!([])]);
}

#[test]
fn named_tools_are_offered_or_refused() {
    each(EVERY, |kind| {
        let server = kind.start();
        let request = Request::new("hello").tools(["search", "files"]);
        let reply = client(&server).ask(request);
        if kind.dialect == Dialect::Newest {
            assert_eq!(reply.unwrap(), GREETING, "{kind:?}");
            assert_eq!(server.offered_tools(), [json!(["search", "files"])]);
        } else {
            assert_eq!(reply.unwrap_err().kind(), ErrorKind::Unsupported, "{kind:?}");
            assert_eq!(count(&server, Step::SendMessage), 0, "{kind:?}");
        }
        assert_nothing_left(&server);
    });
}
