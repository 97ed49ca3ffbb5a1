//! What an event means, by dialect: a table of the events' types for those that have types, one rule for the one that has not.

/// Effects of an event, as bits.
pub mod effect {
    /// Part of the answer's substance: the client has something that cannot be taken back.
    pub const DELTA: u32 = 1;
    /// The answer's reason to end was named.
    pub const FINISH: u32 = 1 << 1;
    /// The usage in it is final.
    pub const USAGE: u32 = 1 << 2;
    /// The dialect's last event.
    pub const TERMINATOR: u32 = 1 << 3;
    /// The provider failed.
    pub const ERROR: u32 = 1 << 4;
    /// Nothing may follow: the client's message can be ended without waiting for the upstream's.
    pub const CLOSE: u32 = 1 << 5;
    /// Finishes only with a `stop_reason` in its delta.
    pub const FINISH_IF_STOPPED: u32 = 1 << 6;
}

use effect::{CLOSE, DELTA, ERROR, FINISH, FINISH_IF_STOPPED, TERMINATOR, USAGE};

/// One row: types that equal `name`, or end in it where it begins with a dot.
#[derive(Debug)]
pub struct Rule {
    name: &'static str,
    effects: u32,
}

/// A way to write a stream of events.
#[derive(Debug)]
pub struct Dialect {
    /// Whether events are chunks with `choices` instead of types.
    pub has_choices: bool,
    /// Whether it is no stream of server-sent events: bytes go through as they are, and the caller reads them.
    pub is_raw: bool,
    rules: &'static [Rule],
}

/// Ends an `OpenAI` stream; as data it is no JSON. Providers of other dialects send it after their own terminator at times.
pub const DONE: &[u8] = b"[DONE]";

/// `OpenAI` chat and text completions, everybody's copies of them, and Gemini, whose members have other names.
pub static CHAT: Dialect = Dialect { has_choices: true, is_raw: false, rules: &[] };

/// `OpenAI` Responses: <https://platform.openai.com/docs/api-reference/responses-streaming>.
/// `[DONE]` may follow the terminator (`DeepSeek`), so it closes nothing.
pub static RESPONSES: Dialect = Dialect {
    has_choices: false,
    is_raw: false,
    rules: &[
        Rule { name: ".delta", effects: DELTA },
        Rule { name: "response.image_generation_call.partial_image", effects: DELTA },
        Rule { name: "response.completed", effects: FINISH | USAGE | TERMINATOR },
        Rule { name: "response.incomplete", effects: FINISH | USAGE | TERMINATOR },
        Rule { name: "response.failed", effects: ERROR },
        Rule { name: "error", effects: ERROR },
    ],
};

/// Anthropic messages: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.
pub static ANTHROPIC: Dialect = Dialect {
    has_choices: false,
    is_raw: false,
    rules: &[
        Rule { name: "content_block_delta", effects: DELTA },
        Rule { name: "message_delta", effects: FINISH_IF_STOPPED | USAGE },
        Rule { name: "message_stop", effects: FINISH | TERMINATOR | CLOSE },
        Rule { name: "error", effects: ERROR },
    ],
};

/// JSON lines, AWS event streams: what the core only unframes.
pub static RAW: Dialect = Dialect { has_choices: false, is_raw: true, rules: &[] };

impl Dialect {
    /// Effects of an event of this type.
    #[must_use]
    pub fn effects(&self, kind: &[u8]) -> u32 {
        let applies = |rule: &&Rule| {
            let name = rule.name.as_bytes();
            if name.starts_with(b".") { kind.ends_with(name) } else { kind == name }
        };
        self.rules.iter().find(applies).map_or(0, |rule| rule.effects)
    }
}
