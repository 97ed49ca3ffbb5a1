//! What routing, limits and accounting read of a request's body.
//!
//! Keys are compared after unescaping, and a key that is read may stand only once: otherwise
//! `{"model": "cheap", "mod\u0065l": "dear"}` is one model to us and another to the provider (CONTRACT 3).

use super::{Cursor, JsonError, Span, Text, affinity, usage::whole, weigh::Weight};

/// Bits of [`Scan::flags`].
pub mod flag {
    /// The client itself asked for the usage event of a stream.
    pub const INCLUDE_USAGE_TRUE: u32 = 1;
    /// `tools` or `functions` is not empty.
    pub const HAS_TOOLS: u32 = 1 << 1;
    /// A content part is an image.
    pub const HAS_IMAGES: u32 = 1 << 2;
    /// A content part is sound.
    pub const HAS_AUDIO: u32 = 1 << 3;
    /// A content part is a file.
    pub const HAS_FILES: u32 = 1 << 4;
    /// `response_format` (or `text.format` of the Responses API) is given.
    pub const HAS_FORMAT: u32 = 1 << 5;
    /// `logprobs` or `top_logprobs` is asked for.
    pub const HAS_LOGPROBS: u32 = 1 << 6;
}

/// A body that is refused: status 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError {
    /// The machine-readable name (CONTRACT 10).
    pub code: &'static str,
    /// What is wrong, for a person.
    pub message: String,
    /// The field at fault, if one is.
    pub param: Option<&'static str>,
}

impl From<JsonError> for BodyError {
    fn from(error: JsonError) -> Self {
        let message = format!("the body is not valid JSON: what stands at byte {} {}", error.at, error.what);
        Self { code: "invalid_json", message, param: None }
    }
}

/// `stream_options` as it stands in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Options {
    Absent,
    Null(Span),
    Given {
        /// Offset after the opening brace.
        inside: usize,
        /// Whether it has no member.
        is_empty: bool,
        /// Where the value of `include_usage` stands.
        include: Option<Span>,
    },
}

/// The facts of one body. Offsets point into the body that was scanned.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The model's name, decoded.
    pub model: String,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Bytes of text in the prompt, from which tokens are estimated.
    pub text_bytes: u64,
    /// The largest number of tokens that the answer may have; 0 when the request does not say.
    pub max_tokens: u64,
    /// Answers asked for; 1 when the request does not say.
    pub n: u64,
    /// [`affinity`] of `prompt_cache_key`, else `user`, else `metadata.user_id`; 0 when there is none.
    pub affinity: u64,
    /// The model's name with its quotes.
    pub(super) model_at: Span,
    pub(super) options: Options,
    /// Offset after the body's opening brace.
    pub(super) inside: usize,
}

/// The keys that are read. The discriminant is the bit by which a repeat is seen.
#[derive(Clone, Copy)]
enum Key {
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    N,
    User,
    Conversation,
    Metadata,
    Messages,
    Contents,
    SystemInstruction,
    Input,
    Prompt,
    System,
    Instructions,
    Tools,
    Functions,
    ResponseFormat,
    Text,
    Logprobs,
    TopLogprobs,
}

/// Name and key of everything that is read; the names are also those of errors.
fn key(name: &[u8]) -> Option<(Key, &'static str)> {
    Some(match name {
        b"model" => (Key::Model, "model"),
        b"stream" => (Key::Stream, "stream"),
        b"stream_options" => (Key::StreamOptions, "stream_options"),
        b"max_tokens" => (Key::MaxTokens, "max_tokens"),
        b"max_completion_tokens" => (Key::MaxCompletionTokens, "max_completion_tokens"),
        b"max_output_tokens" => (Key::MaxOutputTokens, "max_output_tokens"),
        b"n" => (Key::N, "n"),
        b"user" => (Key::User, "user"),
        b"prompt_cache_key" => (Key::Conversation, "prompt_cache_key"),
        b"metadata" => (Key::Metadata, "metadata"),
        b"messages" => (Key::Messages, "messages"),
        b"contents" => (Key::Contents, "contents"),
        b"systemInstruction" => (Key::SystemInstruction, "systemInstruction"),
        b"input" => (Key::Input, "input"),
        b"prompt" => (Key::Prompt, "prompt"),
        b"system" => (Key::System, "system"),
        b"instructions" => (Key::Instructions, "instructions"),
        b"tools" => (Key::Tools, "tools"),
        b"functions" => (Key::Functions, "functions"),
        b"response_format" => (Key::ResponseFormat, "response_format"),
        b"text" => (Key::Text, "text"),
        b"logprobs" => (Key::Logprobs, "logprobs"),
        b"top_logprobs" => (Key::TopLogprobs, "top_logprobs"),
        _ => return None,
    })
}

/// A scan under way.
struct Reading {
    scan: Scan,
    weight: Weight,
    has_model: bool,
    /// Hashes of what ties requests together, best first.
    ties: [u64; 3],
}

impl Scan {
    /// Validates `body` and reads it.
    ///
    /// # Errors
    /// `invalid_json`, `duplicate_parameter`, `missing_parameter` (no model) or `unsupported_parameter` (wrong type).
    pub fn new(body: &[u8]) -> Result<Self, BodyError> {
        let mut cursor = Cursor::new(body)?;
        if cursor.peek()? != b'{' {
            cursor.skip()?;
            cursor.end()?;
            let message = "the body must be a JSON object".to_owned();
            return Err(BodyError { code: "invalid_json", message, param: None });
        }
        cursor.open()?;
        let mut reading = Reading::new(cursor.position());
        let (mut first, mut seen) = (true, 0_u32);
        while let Some(name) = cursor.key(first)? {
            first = false;
            let Some((key, name)) = name.decode(body).as_deref().and_then(key) else {
                cursor.skip()?;
                continue;
            };
            once(&mut seen, key as u32, name)?;
            reading.take(&mut cursor, key)?;
        }
        cursor.end()?;
        reading.finish()
    }
}

impl Reading {
    fn new(inside: usize) -> Self {
        let scan = Scan {
            model: String::new(),
            stream: false,
            flags: 0,
            text_bytes: 0,
            max_tokens: 0,
            n: 1,
            affinity: 0,
            model_at: Span::default(),
            options: Options::Absent,
            inside,
        };
        Self { scan, weight: Weight::default(), has_model: false, ties: [0; 3] }
    }

    fn take(&mut self, cursor: &mut Cursor<'_>, key: Key) -> Result<(), BodyError> {
        match key {
            Key::Model => self.model(cursor)?,
            Key::Stream => self.scan.stream = boolean(cursor, "stream")?,
            Key::StreamOptions => self.options(cursor)?,
            Key::MaxTokens | Key::MaxCompletionTokens | Key::MaxOutputTokens => {
                self.scan.max_tokens = self.scan.max_tokens.max(number(cursor)?.unwrap_or(0));
            }
            Key::N => self.scan.n = number(cursor)?.unwrap_or(1).max(1),
            Key::Conversation => self.ties[0] = tie(cursor)?,
            Key::User => self.ties[1] = tie(cursor)?,
            Key::Metadata => self.metadata(cursor)?,
            Key::Messages | Key::Contents | Key::SystemInstruction => self.weight.add(cursor, false)?,
            Key::Input | Key::Prompt | Key::System | Key::Instructions => self.weight.add(cursor, true)?,
            Key::Tools | Key::Functions => self.mark(cursor, flag::HAS_TOOLS)?,
            Key::ResponseFormat | Key::Text => self.mark(cursor, flag::HAS_FORMAT)?,
            Key::Logprobs | Key::TopLogprobs => self.mark(cursor, flag::HAS_LOGPROBS)?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Scan, BodyError> {
        if !self.has_model {
            let message = "`model` is missing".to_owned();
            return Err(BodyError { code: "missing_parameter", message, param: Some("model") });
        }
        self.scan.text_bytes = self.weight.bytes;
        self.scan.flags |= self.weight.flags;
        self.scan.affinity = self.ties.into_iter().find(|&hash| hash != 0).unwrap_or(0);
        Ok(self.scan)
    }

    fn model(&mut self, cursor: &mut Cursor<'_>) -> Result<(), BodyError> {
        if cursor.peek()? != b'"' {
            return Err(wrong_type("model", "a string"));
        }
        let text = cursor.string()?;
        let value = text.decode(cursor.text()).and_then(|value| String::from_utf8(value.into_owned()).ok());
        let Some(value) = value else { return Err(wrong_type("model", "a string of whole characters")) };
        self.scan.model = value;
        self.scan.model_at = text.quoted();
        self.has_model = true;
        Ok(())
    }

    fn options(&mut self, cursor: &mut Cursor<'_>) -> Result<(), BodyError> {
        match cursor.peek()? {
            b'n' => self.scan.options = Options::Null(cursor.skip()?),
            b'{' => self.options_members(cursor)?,
            _ => return Err(wrong_type("stream_options", "an object")),
        }
        Ok(())
    }

    fn options_members(&mut self, cursor: &mut Cursor<'_>) -> Result<(), BodyError> {
        cursor.open()?;
        let inside = cursor.position();
        let (mut is_empty, mut include, mut seen) = (true, None, 0);
        while let Some(name) = cursor.key(is_empty)? {
            is_empty = false;
            if name.decode(cursor.text()).as_deref() != Some(b"include_usage") {
                cursor.skip()?;
                continue;
            }
            once(&mut seen, 0, "stream_options")?;
            cursor.peek()?;
            let start = cursor.position();
            if boolean(cursor, "stream_options")? {
                self.scan.flags |= flag::INCLUDE_USAGE_TRUE;
            }
            include = Some(Span { start, end: cursor.position() });
        }
        self.scan.options = Options::Given { inside, is_empty, include };
        Ok(())
    }

    fn metadata(&mut self, cursor: &mut Cursor<'_>) -> Result<(), BodyError> {
        if cursor.peek()? != b'{' {
            cursor.skip()?;
            return Ok(());
        }
        cursor.open()?;
        let (mut first, mut seen) = (true, 0);
        while let Some(name) = cursor.key(first)? {
            first = false;
            if name.decode(cursor.text()).as_deref() == Some(b"user_id") {
                once(&mut seen, 0, "metadata")?;
                self.ties[2] = tie(cursor)?;
            } else {
                cursor.skip()?;
            }
        }
        Ok(())
    }

    /// Sets `bit` if the value under the cursor asks for anything.
    fn mark(&mut self, cursor: &mut Cursor<'_>, bit: u32) -> Result<(), JsonError> {
        let value = cursor.skip()?;
        if !matches!(value.of(cursor.text()), b"null" | b"false" | b"0" | b"[]" | b"{}") {
            self.scan.flags |= bit;
        }
        Ok(())
    }
}

/// Notes that the key of this bit was read.
fn once(seen: &mut u32, bit: u32, name: &'static str) -> Result<(), BodyError> {
    if *seen & 1 << bit != 0 {
        let message = format!("`{name}` is given twice");
        return Err(BodyError { code: "duplicate_parameter", message, param: Some(name) });
    }
    *seen |= 1 << bit;
    Ok(())
}

fn wrong_type(name: &'static str, expected: &str) -> BodyError {
    BodyError { code: "unsupported_parameter", message: format!("`{name}` must be {expected}"), param: Some(name) }
}

/// A boolean; null is false.
fn boolean(cursor: &mut Cursor<'_>, name: &'static str) -> Result<bool, BodyError> {
    let value = cursor.skip()?;
    match value.of(cursor.text()) {
        b"true" => Ok(true),
        b"false" | b"null" => Ok(false),
        _ => Err(wrong_type(name, "true or false")),
    }
}

/// A whole number that is not negative; anything else is the provider's to refuse.
fn number(cursor: &mut Cursor<'_>) -> Result<Option<u64>, JsonError> {
    let value = cursor.skip()?;
    Ok(whole(value.of(cursor.text())))
}

/// The hash of the string under the cursor; 0 when it is empty or no string.
fn tie(cursor: &mut Cursor<'_>) -> Result<u64, JsonError> {
    if cursor.peek()? != b'"' {
        cursor.skip()?;
        return Ok(0);
    }
    let text: Text = cursor.string()?;
    Ok(text.decode(cursor.text()).filter(|value| !value.is_empty()).map_or(0, |value| affinity(&value)))
}
