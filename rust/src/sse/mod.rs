//! Server-sent events on their way from a provider to a client, one call per network chunk (CONTRACT 4).
//!
//! - [`relay`]: takes the upstream's framing off and puts the client's on;
//! - [`stream`]: what may go out, what is held, withheld or dropped, and what is known of the stream by now;
//! - [`told`]: what a client has of a stream that broke, and what another answer adds to it, read by [`piece`];
//! - [`tools`]: whether the arguments of tool calls came whole;
//! - [`lines`]: what a line of a stream of JSON lines says;
//! - [`frames`]: AWS event streams, as the events that they hold;
//! - [`split`]: where events end (WHATWG HTML, 9.2 "Server-sent events"); [`event`]: what one says, by the names of
//!   `members`; [`dialect`]: what that means.
//!
//! Where the network cuts the bytes never matters: the concatenation of all output and the final state are the same.

pub mod dialect;
pub mod event;
pub mod frames;
#[cfg(test)]
mod frames_tests;
pub mod lines;
mod members;
mod out;
pub mod piece;
pub mod relay;
pub mod split;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod told;
#[cfg(test)]
mod told_tests;
pub mod tools;
#[cfg(test)]
mod tools_tests;

pub use dialect::{
    ANTHROPIC, CHAT, COHERE, CONVERSE, Dialect, FRAMED, FRAMED_ANTHROPIC, MEDIA, OLLAMA, RAW, RESPONSES,
};
pub use relay::{Output, Relay};
pub use stream::{Stream, state};
pub use told::Told;
