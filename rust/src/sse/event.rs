//! What one event's JSON says, read without a tree and without knowing the dialect: the members of all dialects have
//! different names, so one reader serves all of them, and [`super::dialect`] says what they mean.

use super::dialect::effect;
use super::members::{Member, is_substance, member};
use super::tools::{Place, limits};
use crate::json::{Cursor, Span, Text, Usage, usage::read_usage};

type Result<T> = std::result::Result<T, crate::json::JsonError>;

/// Highest choice index that is told apart; higher ones never count as finished.
const MAX_INDEX: u64 = 126;

/// What stands in an event's data.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// `type`.
    pub kind: Option<Text>,
    /// `error` is there and not null, or `object` is `"error"`.
    pub has_error: bool,
    /// `usage`, also the one in `message` or `response`.
    pub usage: Option<Usage>,
    /// What to cut so that a top-level `usage: null` goes, with its comma.
    pub null_usage: Option<Span>,
    /// A choice carries content, reasoning, a tool call, a refusal or sound.
    pub has_delta: bool,
    /// `delta.stop_reason` (Anthropic) is there and not null.
    pub has_stop_reason: bool,
    /// Further effects, where nothing follows an event that finishes.
    pub end: u32,
    /// `choices` is there and empty.
    pub has_no_choices: bool,
    /// A member that is not known and not empty: content filter results, provider extras.
    pub has_payload: bool,
    /// Bit per index of the choices in this event.
    pub seen: u128,
    /// Those of them with a finish reason.
    pub finished: u128,
    /// Those of them whose finish reason says that they were ended before their time.
    pub limited: u128,
    /// Tool calls that a choice brings; where several do, those of the last.
    pub tools: Option<Place>,
    /// Which part of the answer an event with a type is about.
    pub index: u64,
    /// A piece of that part's text, or of the arguments of a call.
    pub piece: Option<Text>,
    /// Bytes of the answer's substance in it, as they are written in JSON.
    pub text: usize,
}

impl Facts {
    /// Validates `data` and reads it. Data that is JSON but no object says nothing.
    ///
    /// # Errors
    /// When `data` is not JSON.
    pub fn read(data: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(data)?;
        let mut facts = Self::default();
        if cursor.peek()? == b'{' {
            facts.object(&mut cursor)?;
        } else {
            cursor.skip()?;
        }
        cursor.end()?;
        Ok(facts)
    }

    fn object(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        cursor.open()?;
        let (mut first, mut before, mut cut_to_next) = (true, cursor.position(), false);
        while let Some(key) = cursor.key(first)? {
            if std::mem::take(&mut cut_to_next)
                && let Some(cut) = &mut self.null_usage
            {
                cut.end = key.quoted().start;
            }
            let usage_was_null = self.null_usage.is_some();
            self.member(cursor, key)?;
            if self.null_usage.is_some() && !usage_was_null {
                // The first member goes with the comma after it, any other with the comma before it.
                let start = if first { key.quoted().start } else { before };
                self.null_usage = Some(Span { start, end: cursor.position() });
                cut_to_next = first;
            }
            before = cursor.position();
            first = false;
        }
        Ok(())
    }

    fn member(&mut self, cursor: &mut Cursor<'_>, key: Text) -> Result<()> {
        let name = key.decode(cursor.text());
        match name.as_deref().map_or(Member::Other, member) {
            Member::Kind if cursor.peek()? == b'"' => self.kind = Some(cursor.string()?),
            Member::Object => self.has_error |= cursor.skip()?.of(cursor.text()) == br#""error""#,
            Member::Error => self.has_error |= cursor.skip()?.of(cursor.text()) != b"null",
            Member::Usage => self.usage(cursor)?,
            Member::Envelope if cursor.peek()? == b'{' => self.envelope(cursor)?,
            Member::Choices if cursor.peek()? == b'[' => self.choices(cursor)?,
            Member::Delta if cursor.peek()? == b'{' => self.typed_delta(cursor)?,
            Member::Delta | Member::Arguments if cursor.peek()? == b'"' => {
                let piece = cursor.string()?;
                self.text += piece.span.len();
                self.piece = Some(piece);
            }
            Member::Index => self.index = number(cursor)?,
            Member::PromptFeedback if cursor.peek()? == b'{' => self.feedback(cursor)?,
            Member::Statistics => drop(cursor.skip()?),
            Member::BlockDelta if cursor.peek()? == b'{' => self.block_delta(cursor)?,
            Member::MessageStop if cursor.peek()? == b'{' => self.message_stop(cursor)?,
            Member::Metrics => self.metrics(cursor)?,
            Member::Blocked => self.blocked(cursor)?,
            _ => {
                let value = cursor.skip()?;
                self.has_payload |= is_filled_container(value.of(cursor.text()));
            }
        }
        Ok(())
    }

    fn metrics(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.end |= effect::FINISH | effect::USAGE;
        self.usage(cursor)
    }

    fn blocked(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        if cursor.skip()?.of(cursor.text()) != b"null" {
            self.end |= effect::FINISH;
        }
        Ok(())
    }

    fn usage(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        if cursor.peek()? == b'n' && self.null_usage.is_none() {
            self.null_usage = Some(cursor.skip()?);
            return Ok(());
        }
        if let Some(usage) = read_usage(cursor)? {
            self.usage = Some(self.usage.unwrap_or_default().max(usage));
        }
        Ok(())
    }

    /// `message` of Anthropic's first event, `response` of the Responses API, `x_groq`.
    fn envelope(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.has_payload = true;
        each_member(cursor, |name, cursor| match name {
            Some(b"usage") => {
                if let Some(usage) = read_usage(cursor)? {
                    self.usage = Some(self.usage.unwrap_or_default().max(usage));
                }
                Ok(())
            }
            _ => cursor.skip().map(drop),
        })
    }

    /// A prompt that is blocked has no candidates: the answer is over.
    fn feedback(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.has_payload = true;
        each_member(cursor, |name, cursor| {
            let value = cursor.skip()?;
            if name == Some(b"blockReason") && value.of(cursor.text()) != b"null" {
                self.seen |= 1;
                self.finished |= 1;
            }
            Ok(())
        })
    }

    fn typed_delta(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.has_payload = true;
        each_member(cursor, |name, cursor| {
            if name == Some(b"usage") {
                return self.usage(cursor);
            }
            if name == Some(b"partial_json") && cursor.peek()? == b'"' {
                let piece = cursor.string()?;
                self.text += piece.span.len();
                self.piece = Some(piece);
                return Ok(());
            }
            if name == Some(b"message") {
                // Cohere's: arguments of calls stand in it.
                let start = cursor.position();
                self.piece = along(cursor, &[b"tool_calls", b"function", b"arguments"])?;
                self.text += (cursor.position() - start).saturating_sub(2);
                return Ok(());
            }
            let value = cursor.skip()?;
            let is_set = value.of(cursor.text()) != b"null";
            if (name == Some(b"stop_reason") || name == Some(b"finish_reason")) && is_set {
                self.has_stop_reason |= name == Some(b"stop_reason");
                self.limited = if limits(value.of(cursor.text())) { !0 } else { 0 };
            }
            if name != Some(b"type") {
                self.text += inside(value);
            }
            // Cohere tells usage and error in the delta of its last event.
            self.has_error |= name == Some(b"error") && is_set;
            Ok(())
        })
    }

    fn block_delta(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.has_payload = true;
        each_member(cursor, |name, cursor| {
            match name {
                Some(b"contentBlockIndex") => self.index = number(cursor)?,
                Some(b"delta") => self.piece = along(cursor, &[b"toolUse", b"input"])?,
                _ => drop(cursor.skip()?),
            }
            Ok(())
        })
    }

    fn message_stop(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.has_payload = true;
        each_member(cursor, |name, cursor| {
            let value = cursor.skip()?;
            if name == Some(b"stopReason") {
                self.limited = if limits(value.of(cursor.text())) { !0 } else { 0 };
            }
            Ok(())
        })
    }

    fn choices(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        cursor.open()?;
        let mut first = true;
        while cursor.item(first)? {
            first = false;
            if cursor.peek()? == b'{' {
                self.choice(cursor)?;
            } else {
                cursor.skip()?;
            }
        }
        self.has_no_choices = first;
        Ok(())
    }

    fn choice(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let (mut index, mut is_finished, mut is_limited) = (0, false, false);
        let tools = self.tools.take();
        each_member(cursor, |name, cursor| {
            match name {
                Some(b"delta") if cursor.peek()? == b'{' => return self.delta(cursor),
                Some(b"index") => index = number(cursor)?,
                Some(b"finish_reason" | b"finishReason") => {
                    let reason = cursor.skip()?.of(cursor.text());
                    is_finished = reason != b"null";
                    is_limited = is_finished && limits(reason);
                }
                name => self.substance(name, cursor)?,
            }
            Ok(())
        })?;
        match &mut self.tools {
            Some(place) => place.choice = index,
            None => self.tools = tools,
        }
        self.seen |= 1 << index.min(MAX_INDEX + 1);
        if is_finished && index <= MAX_INDEX {
            self.finished |= 1 << index;
            self.limited |= u128::from(is_limited) << index;
        }
        Ok(())
    }

    fn delta(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        each_member(cursor, |name, cursor| self.substance(name, cursor))
    }

    fn substance(&mut self, name: Option<&[u8]>, cursor: &mut Cursor<'_>) -> Result<()> {
        let value = cursor.skip()?;
        if name.is_some_and(is_substance) && is_filled(value.of(cursor.text())) {
            self.has_delta = true;
            self.text += inside(value);
            if name == Some(b"tool_calls") {
                self.tools = Some(Place { choice: 0, calls: value });
            }
        }
        Ok(())
    }
}

/// Calls `take` for each member of the object under the cursor, with the value under it; the name is `None` if it has no
/// UTF-8 form.
pub(super) fn each_member<'a>(
    cursor: &mut Cursor<'a>,
    mut take: impl FnMut(Option<&[u8]>, &mut Cursor<'a>) -> Result<()>,
) -> Result<()> {
    cursor.open()?;
    let mut first = true;
    while let Some(key) = cursor.key(first)? {
        first = false;
        let name = key.decode(cursor.text());
        take(name.as_deref(), cursor)?;
    }
    Ok(())
}

/// The string at the end of a path of members, if there is one; the value under the cursor is read whole.
fn along(cursor: &mut Cursor<'_>, path: &[&[u8]]) -> Result<Option<Text>> {
    match path {
        [] if cursor.peek()? == b'"' => cursor.string().map(Some),
        [next, rest @ ..] if cursor.peek()? == b'{' => {
            let mut found = None;
            each_member(cursor, |name, cursor| {
                if name == Some(*next) {
                    found = along(cursor, rest)?;
                } else {
                    cursor.skip()?;
                }
                Ok(())
            })?;
            Ok(found)
        }
        _ => cursor.skip().map(|_| None),
    }
}

pub(super) fn number(cursor: &mut Cursor<'_>) -> Result<u64> {
    let value = cursor.skip()?;
    let text = std::str::from_utf8(value.of(cursor.text())).unwrap_or_default();
    Ok(text.parse().unwrap_or(0))
}

/// Bytes of a string, array or object without its quotes or brackets.
pub(super) const fn inside(value: Span) -> usize {
    value.len().saturating_sub(2)
}

/// A string, array or object with something in it.
pub(super) fn is_filled(value: &[u8]) -> bool {
    match value {
        [b'"', inside @ .., b'"'] => !inside.is_empty(),
        _ => is_filled_container(value),
    }
}

fn is_filled_container(value: &[u8]) -> bool {
    matches!(value, [b'[', inside @ .., b']'] | [b'{', inside @ .., b'}'] if !inside.trim_ascii().is_empty())
}
