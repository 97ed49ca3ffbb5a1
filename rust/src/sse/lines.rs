//! What one line of Ollama's stream says, or of Cohere's first version: one answer, no choices.

use super::dialect::effect;
use super::event::{Facts, each_member, inside, is_filled, number};
use crate::json::{Cursor, JsonError, Usage};

/// Validates `data` and reads it. JSON that is no object says nothing.
///
/// # Errors
/// When `data` is not JSON.
pub fn read(data: &[u8]) -> Result<Facts, JsonError> {
    let mut cursor = Cursor::new(data)?;
    let mut facts = Facts { seen: 1, ..Facts::default() };
    if cursor.peek()? == b'{' {
        let mut usage = Usage::default();
        each_member(&mut cursor, |name, cursor| match (name, cursor.peek()?) {
            (Some(b"message"), b'{') => each_member(cursor, |name, cursor| substance(&mut facts, name, cursor)),
            (Some(b"prompt_eval_count"), b'0'..=b'9') => number(cursor).map(|count| usage.input = count),
            (Some(b"eval_count"), b'0'..=b'9') => number(cursor).map(|count| usage.output = count),
            (Some(b"done" | b"is_finished"), _) => {
                if cursor.skip()?.of(cursor.text()) == b"true" {
                    (facts.finished, facts.end) = (1, effect::TERMINATOR | effect::CLOSE);
                }
                Ok(())
            }
            (Some(b"error"), first) => {
                facts.has_error |= first != b'n';
                cursor.skip().map(drop)
            }
            (name, _) => substance(&mut facts, name, cursor),
        })?;
        facts.usage = (usage != Usage::default()).then_some(usage);
    } else {
        cursor.skip()?;
    }
    cursor.end()?;
    Ok(facts)
}

/// Members of a message, or of a line of `/api/generate`, that are an answer's substance when they are not empty.
fn substance(facts: &mut Facts, name: Option<&[u8]>, cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
    let value = cursor.skip()?;
    let is_substance =
        matches!(name, Some(b"content" | b"thinking" | b"tool_calls" | b"response" | b"image" | b"text"));
    if is_substance && is_filled(value.of(cursor.text())) {
        facts.has_delta = true;
        facts.text += inside(value);
    }
    Ok(())
}
