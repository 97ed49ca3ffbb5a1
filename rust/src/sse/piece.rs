//! What one chunk of a chat or text completion adds to an answer, and where in its JSON that stands, so that another answer's
//! chunk can be cut down to what its client has not been told yet ([`super::told`]).

use super::event::{each_member, is_filled, number};
use crate::json::{Cursor, JsonError, Span, Text};

type Result<T> = std::result::Result<T, JsonError>;

/// A text of the answer that grows by deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `delta.content`.
    Content,
    /// `delta.reasoning_content`.
    ReasoningContent,
    /// `delta.reasoning`.
    Reasoning,
    /// `delta.refusal`.
    Refusal,
    /// `text` of a text completion.
    Text,
    /// `function.name` of the tool call with this index.
    ToolName(u64),
    /// `function.arguments` of the tool call with this index.
    ToolArguments(u64),
    /// `function_call.name`.
    FunctionName,
    /// `function_call.arguments`.
    FunctionArguments,
}

impl Name {
    /// Whether it is thought, not said.
    #[must_use]
    pub const fn is_reasoning(self) -> bool {
        matches!(self, Self::ReasoningContent | Self::Reasoning)
    }
}

/// Numbers of a usage report that add up over answers: where they stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// `prompt_tokens`.
    pub input: Option<Span>,
    /// `completion_tokens`.
    pub output: Option<Span>,
    /// `total_tokens`.
    pub total: Option<Span>,
}

/// One event's data, as offsets into it.
#[derive(Debug, Default)]
pub struct Piece {
    /// Value of `id`.
    pub id: Option<Span>,
    /// Value of `created`.
    pub created: Option<Span>,
    /// Value of `delta.role`.
    pub role: Option<Span>,
    /// Index and value of `id` of each tool call that has one.
    pub labels: Vec<(u64, Span)>,
    /// What it adds, in its order.
    pub strings: Vec<(Name, Text)>,
    /// Its usage report.
    pub report: Option<Report>,
    /// Value of its finish reason, if it has one.
    pub finish: Option<Span>,
    /// Whether it is about a choice.
    pub has_choice: bool,
    /// Whether it holds something that cannot be compared: a second choice, sound, log probabilities, content in parts.
    pub is_opaque: bool,
}

impl Piece {
    /// Reads `data`; JSON that is no object adds nothing.
    ///
    /// # Errors
    /// When `data` is not JSON.
    pub fn read(data: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(data)?;
        let mut piece = Self::default();
        if cursor.peek()? == b'{' {
            each_member(&mut cursor, |name, cursor| piece.member(name, cursor))?;
        } else {
            cursor.skip()?;
        }
        cursor.end()?;
        Ok(piece)
    }

    fn member(&mut self, name: Option<&[u8]>, cursor: &mut Cursor<'_>) -> Result<()> {
        match (name, cursor.peek()?) {
            (Some(b"id"), b'"') => self.id = Some(cursor.skip()?),
            (Some(b"created"), b'0'..=b'9') => self.created = Some(cursor.skip()?),
            (Some(b"usage"), b'{') => self.report = Some(report(cursor)?),
            (Some(b"choices"), b'[') => self.choices(cursor)?,
            _ => drop(cursor.skip()?),
        }
        Ok(())
    }

    fn choices(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        cursor.open()?;
        let mut first = true;
        while cursor.item(first)? {
            self.is_opaque |= !first;
            first = false;
            if cursor.peek()? == b'{' {
                self.has_choice = true;
                each_member(cursor, |name, cursor| self.choice(name, cursor))?;
            } else {
                cursor.skip()?;
            }
        }
        Ok(())
    }

    fn choice(&mut self, name: Option<&[u8]>, cursor: &mut Cursor<'_>) -> Result<()> {
        match (name, cursor.peek()?) {
            (Some(b"delta"), b'{') => each_member(cursor, |name, cursor| self.delta(name, cursor))?,
            (Some(b"text"), b'"') => self.add(Name::Text, cursor)?,
            (Some(b"index"), _) => self.is_opaque |= number(cursor)? != 0,
            (Some(b"finish_reason"), b'"') => self.finish = Some(cursor.skip()?).filter(|value| value.len() > 2),
            (Some(b"logprobs"), _) => self.is_opaque |= cursor.skip()?.of(cursor.text()) != b"null",
            _ => drop(cursor.skip()?),
        }
        Ok(())
    }

    fn delta(&mut self, name: Option<&[u8]>, cursor: &mut Cursor<'_>) -> Result<()> {
        match (name, cursor.peek()?) {
            (Some(b"role"), b'"') => self.role = Some(cursor.skip()?),
            (Some(b"content"), b'"') => self.add(Name::Content, cursor)?,
            (Some(b"reasoning_content"), b'"') => self.add(Name::ReasoningContent, cursor)?,
            (Some(b"reasoning"), b'"') => self.add(Name::Reasoning, cursor)?,
            (Some(b"refusal"), b'"') => self.add(Name::Refusal, cursor)?,
            (Some(b"tool_calls"), b'[') => self.tool_calls(cursor)?,
            (Some(b"function_call"), b'{') => {
                each_member(cursor, |name, cursor| match (name, cursor.peek()?) {
                    (Some(b"name"), b'"') => self.add(Name::FunctionName, cursor),
                    (Some(b"arguments"), b'"') => self.add(Name::FunctionArguments, cursor),
                    _ => cursor.skip().map(drop),
                })?;
            }
            (Some(b"content" | b"reasoning_content" | b"reasoning" | b"refusal" | b"audio"), _) => {
                self.other(cursor)?;
            }
            _ => drop(cursor.skip()?),
        }
        Ok(())
    }

    fn tool_calls(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        cursor.open()?;
        let mut first = true;
        while cursor.item(first)? {
            first = false;
            if cursor.peek()? == b'{' {
                self.tool_call(cursor)?;
            } else {
                cursor.skip()?;
            }
        }
        Ok(())
    }

    fn tool_call(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let (mut index, mut label, mut call, mut arguments) = (None, None, None, None);
        let mut is_opaque = false;
        each_member(cursor, |name, cursor| {
            match (name, cursor.peek()?) {
                (Some(b"index"), b'0'..=b'9') => index = Some(number(cursor)?),
                (Some(b"id"), b'"') => label = Some(cursor.skip()?),
                (Some(b"function"), b'{') => each_member(cursor, |name, cursor| match (name, cursor.peek()?) {
                    (Some(b"name"), b'"') => cursor.string().map(|text| call = Some(text)),
                    (Some(b"arguments"), b'"') => cursor.string().map(|text| arguments = Some(text)),
                    (Some(b"arguments"), _) => {
                        is_opaque |= is_filled(cursor.skip()?.of(cursor.text()));
                        Ok(())
                    }
                    _ => cursor.skip().map(drop),
                })?,
                (Some(b"id" | b"type"), _) => drop(cursor.skip()?),
                _ => is_opaque |= is_filled(cursor.skip()?.of(cursor.text())),
            }
            Ok(())
        })?;
        // Without an index it cannot be told to which call a delta belongs.
        self.is_opaque |= is_opaque || index.is_none();
        if let Some(index) = index {
            self.labels.extend(label.map(|span| (index, span)));
            self.strings.extend(call.map(|text| (Name::ToolName(index), text)));
            self.strings.extend(arguments.map(|text| (Name::ToolArguments(index), text)));
        }
        Ok(())
    }

    fn add(&mut self, name: Name, cursor: &mut Cursor<'_>) -> Result<()> {
        let text = cursor.string()?;
        if !text.span.is_empty() {
            self.strings.push((name, text));
        }
        Ok(())
    }

    fn other(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.is_opaque |= is_filled(cursor.skip()?.of(cursor.text()));
        Ok(())
    }
}

fn report(cursor: &mut Cursor<'_>) -> Result<Report> {
    let mut report = Report::default();
    each_member(cursor, |name, cursor| {
        let value = cursor.skip()?;
        match name {
            Some(b"prompt_tokens") => report.input = Some(value),
            Some(b"completion_tokens") => report.output = Some(value),
            Some(b"total_tokens") => report.total = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    Ok(report)
}
