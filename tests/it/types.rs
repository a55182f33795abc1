//! Properties of the public types that programs rely on.

use h2o_chat::{
    CancelHandle, Client, ClientBuilder, Conversation, ConversationBuilder, Error, Event, Proxy,
    Reply, Request, Result, ServerInfo, Session, Tokens, Wait,
};

#[test]
fn public_types_are_send_and_sync() {
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
    can::<CancelHandle>();
    can::<Tokens<'static>>();
    can::<Wait>();
}

/// A result is as large as its value.
#[test]
fn an_error_is_one_pointer_wide() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    assert_eq!(size_of::<Result<String>>(), size_of::<String>());
}
