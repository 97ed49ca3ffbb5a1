//! Whether the arguments of tool calls are whole when an answer says that it is finished.
//!
//! Arguments are JSON inside a string. What a model writes there is its own affair, and some models write it badly; but text that ends
//! inside a string or with brackets open was cut on its way, and an agent that acts on it acts on half a call.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::event::{each_member, number};
use crate::json::{Cursor, JsonError, Span, Text};

/// Made once: it costs more than the search in most answers.
static TOOL_CALLS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"tool_calls\""));
/// Most calls of one answer that are looked at; in those beyond nothing is found.
const MAX_CALLS: usize = 128;

/// How far the brackets of a JSON text are closed.
#[derive(Clone, Copy, Debug, Default)]
struct Brackets {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// Something of it could not be read: nothing is claimed.
    is_lost: bool,
}

impl Brackets {
    fn push(&mut self, text: &[u8]) {
        for byte in text {
            match byte {
                _ if std::mem::take(&mut self.escaped) => {}
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn take(&mut self, piece: Text, text: &[u8]) {
        match piece.decode(text) {
            Some(piece) => self.push(&piece),
            None => self.is_lost = true,
        }
    }

    const fn is_cut(self) -> bool {
        (self.depth > 0 || self.in_string) && !self.is_lost
    }
}

/// The calls of one stream, until the choice that makes them is finished.
#[derive(Debug, Default)]
pub struct Calls {
    open: Vec<(u64, u64, Brackets)>,
}

impl Calls {
    /// Whether no call is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes the value of `tool_calls` that a choice brought.
    pub fn take(&mut self, choice: u64, calls: &[u8]) {
        // It was read before: it is JSON.
        let _ = each_call(calls, |index, arguments, text| {
            if let Some(brackets) = self.of(choice, index) {
                brackets.take(arguments, text);
            }
        });
    }

    /// Takes a piece of a call's arguments, or all of them at once, where each event is about one call.
    pub fn take_piece(&mut self, call: u64, piece: Text, text: &[u8], is_whole: bool) {
        if let Some(brackets) = self.of(0, call) {
            if is_whole {
                *brackets = Brackets::default();
            }
            brackets.take(piece, text);
        }
    }

    /// What is known of a call; `None` for those beyond the most.
    fn of(&mut self, choice: u64, call: u64) -> Option<&mut Brackets> {
        let at = self.open.iter().position(|(of, one, _)| (*of, *one) == (choice, call)).or_else(|| {
            (self.open.len() < MAX_CALLS).then(|| {
                self.open.push((choice, call, Brackets::default()));
                self.open.len() - 1
            })
        })?;
        Some(&mut self.open[at].2)
    }

    /// The choices of `finished` are over; tells whether a call of theirs is cut. Those of `limited` may be: they say so themselves.
    pub fn finish(&mut self, finished: u128, limited: u128) -> bool {
        let is_in = |bits: u128, choice: u64| choice < 128 && bits & (1 << choice) != 0;
        let is_cut =
            self.open.iter().any(|&(choice, _, brackets)| is_in(finished & !limited, choice) && brackets.is_cut());
        self.open.retain(|&(choice, _, _)| !is_in(finished, choice));
        is_cut
    }
}

/// Whether the `choices` of a whole answer hold a call that is cut, though its choice does not say that it was limited.
#[must_use]
pub fn has_cut_call(choices: &[u8]) -> bool {
    if TOOL_CALLS.find(choices).is_none() {
        return false;
    }
    // It was read before: it is JSON.
    each_choice(choices).unwrap_or(false)
}

fn each_choice(choices: &[u8]) -> Result<bool, JsonError> {
    let mut cursor = Cursor::new(choices)?;
    if cursor.peek()? != b'[' {
        return Ok(false);
    }
    cursor.open()?;
    let (mut first, mut found) = (true, false);
    while cursor.item(first)? {
        first = false;
        if cursor.peek()? == b'{' {
            found |= choice(&mut cursor)?;
        } else {
            cursor.skip()?;
        }
    }
    Ok(found)
}

fn choice(cursor: &mut Cursor<'_>) -> Result<bool, JsonError> {
    let (mut is_limited, mut is_cut) = (false, false);
    each_member(cursor, |name, cursor| {
        match (name, cursor.peek()?) {
            (Some(b"finish_reason"), _) => is_limited = limits(cursor.skip()?.of(cursor.text())),
            (Some(b"message"), b'{') => each_member(cursor, |name, cursor| {
                let value = cursor.skip()?;
                if name == Some(b"tool_calls") {
                    each_call(value.of(cursor.text()), |_, arguments, text| {
                        let mut brackets = Brackets::default();
                        if let Some(whole) = arguments.decode(text) {
                            brackets.push(&whole);
                        }
                        is_cut |= brackets.is_cut();
                    })?;
                }
                Ok(())
            })?,
            _ => drop(cursor.skip()?),
        }
        Ok(())
    })?;
    Ok(is_cut && !is_limited)
}

/// Whether a finish reason says that the answer was ended before its time.
#[must_use]
pub fn limits(reason: &[u8]) -> bool {
    matches!(
        reason,
        b"\"length\""
            | b"\"max_tokens\""
            | b"\"content_filter\""
            | b"\"refusal\""
            | b"\"pause_turn\""
            | b"\"model_context_window_exceeded\""
            // Bedrock's, then Cohere's.
            | b"\"content_filtered\""
            | b"\"guardrail_intervened\""
            | b"\"malformed_tool_use\""
            | b"\"MAX_TOKENS\""
            | b"\"TIMEOUT\""
    )
}

/// Calls `take` with the index, the arguments and the text they stand in, for each element that has arguments in a string.
fn each_call(calls: &[u8], mut take: impl FnMut(u64, Text, &[u8])) -> Result<(), JsonError> {
    let mut cursor = Cursor::new(calls)?;
    if cursor.peek()? != b'[' {
        return Ok(());
    }
    cursor.open()?;
    let mut first = true;
    while cursor.item(first)? {
        first = false;
        if cursor.peek()? != b'{' {
            cursor.skip()?;
            continue;
        }
        let (mut index, mut arguments) = (0, None);
        each_member(&mut cursor, |name, cursor| {
            match (name, cursor.peek()?) {
                (Some(b"index"), b'0'..=b'9') => index = number(cursor)?,
                (Some(b"function"), b'{') => each_member(cursor, |name, cursor| {
                    if name == Some(b"arguments") && cursor.peek()? == b'"' {
                        arguments = Some(cursor.string()?);
                    } else {
                        cursor.skip()?;
                    }
                    Ok(())
                })?,
                _ => drop(cursor.skip()?),
            }
            Ok(())
        })?;
        if let Some(arguments) = arguments {
            take(index, arguments, cursor.text());
        }
    }
    Ok(())
}

/// Where the calls of an event stand.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The choice that brings them.
    pub choice: u64,
    /// The value of its `tool_calls`.
    pub calls: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(arguments: &str, reason: &str) -> bool {
        let call = format!(r#"{{"id":"a","type":"function","function":{{"name":"f","arguments":{arguments}}}}}"#);
        has_cut_call(
            format!(r#"[{{"index":0,"finish_reason":{reason},"message":{{"content":null,"tool_calls":[{call}]}}}}]"#)
                .as_bytes(),
        )
    }

    #[test]
    fn a_call_is_cut_where_its_text_ends_inside_a_string_or_a_bracket() {
        for cut in [r#""{\"a\": \"b""#, r#""{\"a\": [1""#, r#""{""#, r#""\"a\\\"""#] {
            assert!(answer(cut, r#""tool_calls""#), "{cut}");
        }
        for whole in
            [r#""""#, r#""{}""#, r#""{\"a\": \"}\\\"{\"}""#, r#""not JSON at all""#, r#""{}{}""#, "{\"a\":1}", "null"]
        {
            assert!(!answer(whole, r#""tool_calls""#), "{whole}");
        }
    }

    #[test]
    fn an_answer_that_says_it_was_limited_may_be_cut() {
        assert!(!answer(r#""{\"a""#, r#""length""#));
        assert!(answer(r#""{\"a""#, r#""stop""#));
        assert!(!has_cut_call(br#"[{"message":{"content":"\"tool_calls\": {"}}]"#));
    }

    #[test]
    fn pieces_belong_to_their_choice_and_call() {
        let piece = |index: u64, text: &str| format!(r#"[{{"index":{index},"function":{{"arguments":"{text}"}}}}]"#);
        let mut calls = Calls::default();
        calls.take(0, piece(0, "{").as_bytes());
        calls.take(0, piece(1, "{}").as_bytes());
        calls.take(1, piece(0, "[").as_bytes());
        calls.take(0, piece(0, "}").as_bytes());
        assert!(!calls.finish(1, 0));
        assert!(calls.finish(2, 0));
        assert!(calls.is_empty());
        calls.take(0, piece(0, "{").as_bytes());
        assert!(!calls.finish(1, 1));
    }
}
