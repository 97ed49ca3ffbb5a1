//! What an event means, by dialect: a table of the events' types for those that have types, one rule for the one that has not.

use super::event::Facts;
use super::lines;
use super::stream::MAX_HELD;
use crate::json::JsonError;

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
    /// Its piece, if it has one, belongs to the arguments of a call.
    pub const ARGUMENTS: u32 = 1 << 7;
    /// They are all that the call has.
    pub const WHOLE: u32 = 1 << 8;
    /// The answer was ended before its time.
    pub const LIMITED: u32 = 1 << 9;
}

use effect::{ARGUMENTS, CLOSE, DELTA, ERROR, FINISH, FINISH_IF_STOPPED, LIMITED, TERMINATOR, USAGE, WHOLE};

/// One row: types that equal `name`, or end in it where it begins with a dot; all where it is empty.
#[derive(Debug)]
pub struct Rule {
    name: &'static str,
    effects: u32,
}

/// How the events of a stream are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Events,
    /// Each line is an event: JSON lines.
    Lines,
    /// Frames of an AWS event stream; [`super::frames`] makes server-sent events of them.
    Frames,
    /// Bytes go through as they are, and the caller reads them.
    Raw,
}

/// A way to write a stream of events.
#[derive(Debug)]
pub struct Dialect {
    /// Whether events are chunks with `choices` instead of types.
    pub has_choices: bool,
    /// Longest event, in bytes.
    pub max_held: usize,
    /// How its events are told apart.
    pub framing: Framing,
    rules: &'static [Rule],
}

/// Ends an `OpenAI` stream; as data it is no JSON. Providers of other dialects send it after their own terminator at times.
pub const DONE: &[u8] = b"[DONE]";

/// `OpenAI` chat and text completions, everybody's copies of them, and Gemini, whose members have other names.
pub static CHAT: Dialect = Dialect { has_choices: true, max_held: MAX_HELD, framing: Framing::Events, rules: &[] };

/// `OpenAI` Responses: <https://platform.openai.com/docs/api-reference/responses-streaming>.
/// `[DONE]` may follow the terminator (`DeepSeek`), so it closes nothing.
pub static RESPONSES: Dialect = Dialect {
    has_choices: false,
    max_held: MAX_HELD,
    framing: Framing::Events,
    rules: &[
        Rule { name: "response.function_call_arguments.delta", effects: DELTA | ARGUMENTS },
        Rule { name: "response.mcp_call_arguments.delta", effects: DELTA | ARGUMENTS },
        Rule { name: ".delta", effects: DELTA },
        Rule { name: "response.function_call_arguments.done", effects: ARGUMENTS | WHOLE },
        Rule { name: "response.mcp_call_arguments.done", effects: ARGUMENTS | WHOLE },
        Rule { name: "response.image_generation_call.partial_image", effects: DELTA },
        Rule { name: "response.completed", effects: FINISH | USAGE | TERMINATOR },
        Rule { name: "response.incomplete", effects: FINISH | USAGE | TERMINATOR | LIMITED },
        Rule { name: "response.failed", effects: ERROR },
        Rule { name: "error", effects: ERROR },
    ],
};

/// `OpenAI`'s streams of images, speech and transcripts, each with a last event of its own name; an image is one event.
/// Several images end one by one, so none of these events ends the stream.
pub static MEDIA: Dialect = Dialect {
    has_choices: false,
    max_held: 32 << 20,
    framing: Framing::Events,
    rules: &[
        Rule { name: ".delta", effects: DELTA },
        Rule { name: ".partial_image", effects: DELTA },
        Rule { name: "image_generation.completed", effects: DELTA | FINISH | USAGE },
        Rule { name: "image_edit.completed", effects: DELTA | FINISH | USAGE },
        Rule { name: "transcript.text.segment", effects: DELTA },
        Rule { name: "transcript.text.done", effects: DELTA | FINISH | USAGE },
        Rule { name: "speech.audio.done", effects: FINISH | USAGE },
        Rule { name: "error", effects: ERROR },
    ],
};

/// Anthropic messages: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.
pub static ANTHROPIC: Dialect =
    Dialect { has_choices: false, max_held: MAX_HELD, framing: Framing::Events, rules: ANTHROPIC_RULES };

const ANTHROPIC_RULES: &[Rule] = &[
    Rule { name: "content_block_delta", effects: DELTA | ARGUMENTS },
    Rule { name: "message_delta", effects: FINISH_IF_STOPPED | USAGE },
    Rule { name: "message_stop", effects: FINISH | TERMINATOR | CLOSE },
    Rule { name: "error", effects: ERROR },
];

/// The same in the frames of Bedrock's `InvokeModelWithResponseStream`.
pub static FRAMED_ANTHROPIC: Dialect =
    Dialect { has_choices: false, max_held: MAX_HELD, framing: Framing::Frames, rules: ANTHROPIC_RULES };

/// Bedrock's `ConverseStream`: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>.
/// The usage follows the reason to end, so that only the message's end is the stream's.
pub static CONVERSE: Dialect = Dialect {
    has_choices: false,
    max_held: MAX_HELD,
    framing: Framing::Frames,
    rules: &[
        Rule { name: "contentBlockDelta", effects: DELTA | ARGUMENTS },
        Rule { name: "messageStop", effects: FINISH },
        Rule { name: "metadata", effects: USAGE },
        Rule { name: "error", effects: ERROR },
    ],
};

/// Other makers' models behind the same operation: each event is a part of the answer in the maker's own words, and the last one has
/// Bedrock's own counts in it (`amazon-bedrock-invocationMetrics`).
pub static FRAMED: Dialect = Dialect {
    has_choices: false,
    max_held: MAX_HELD,
    framing: Framing::Frames,
    rules: &[Rule { name: "error", effects: ERROR }, Rule { name: "", effects: DELTA }],
};

/// What the core only takes the HTTP framing off.
pub static RAW: Dialect = Dialect { has_choices: false, max_held: MAX_HELD, framing: Framing::Raw, rules: &[] };

/// Ollama's own API: <https://docs.ollama.com/api/streaming>. Its lines have no type; [`super::lines`] reads them.
pub static OLLAMA: Dialect = Dialect { has_choices: true, max_held: MAX_HELD, framing: Framing::Lines, rules: &[] };

/// Cohere's chat, version 2: <https://docs.cohere.com/v2/docs/streaming>. `[DONE]` follows the last event.
pub static COHERE: Dialect = Dialect {
    has_choices: false,
    max_held: MAX_HELD,
    framing: Framing::Events,
    rules: &[
        Rule { name: "content-delta", effects: DELTA },
        Rule { name: "tool-plan-delta", effects: DELTA },
        Rule { name: "tool-call-start", effects: DELTA | ARGUMENTS },
        Rule { name: "tool-call-delta", effects: DELTA | ARGUMENTS },
        Rule { name: "message-end", effects: FINISH | USAGE },
    ],
};

impl Dialect {
    /// What an event's data says.
    ///
    /// # Errors
    /// When `data` is not JSON.
    pub fn read(&self, data: &[u8]) -> Result<Facts, JsonError> {
        if self.framing == Framing::Lines { lines::read(data) } else { Facts::read(data) }
    }

    /// The line ends that an event lacks at the end of a stream, so that whatever follows at the client is not part of it.
    #[must_use]
    pub const fn end_of_event(&self) -> &'static [u8] {
        if matches!(self.framing, Framing::Lines) { b"\n" } else { b"\n\n" }
    }

    /// Effects of an event of this type.
    #[must_use]
    pub fn effects(&self, kind: &[u8]) -> u32 {
        let applies = |rule: &&Rule| {
            let name = rule.name.as_bytes();
            name.is_empty() || if name.starts_with(b".") { kind.ends_with(name) } else { kind == name }
        };
        self.rules.iter().find(applies).map_or(0, |rule| rule.effects)
    }
}
