//! What an answer says that it cost: the `usage` objects of the dialects, in one form.

use super::{Cursor, JsonError, Span};

/// Tokens of one answer; 0 where the provider says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read, cached ones included (Anthropic counts those apart; here they are added).
    pub input: u64,
    /// Tokens written, reasoning included.
    pub output: u64,
    /// Those of `input` that came from a cache.
    pub cached: u64,
    /// Those of `output` that were reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// The larger of each count: in a stream the counts are cumulative, and a later event may leave some out.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cached: self.cached.max(other.cached),
            reasoning: self.reasoning.max(other.reasoning),
        }
    }
}

/// Where a count belongs, by its name in the object.
#[derive(Clone, Copy)]
enum Count {
    Input,
    /// Anthropic's `input_tokens` leaves out what was written to and read from the cache.
    Written,
    Read,
    Cached,
    Output,
    Reasoning,
    /// Gemini's `candidatesTokenCount` leaves out what was thought, `promptTokenCount` what its own tools read.
    Thought,
    Tool,
    /// An object with counts that belong to the outer ones.
    Details,
    Ignored,
}

/// The names, data-like: `OpenAI` chat, `OpenAI` Responses, Anthropic, `DeepSeek`, Gemini, Bedrock.
fn count(name: &[u8]) -> Count {
    match name {
        b"prompt_tokens" | b"input_tokens" | b"promptTokenCount" | b"inputTokens" | b"inputTokenCount" => {
            Count::Input
        }
        b"cache_creation_input_tokens" | b"cacheWriteInputTokens" => Count::Written,
        b"cache_read_input_tokens" | b"cacheReadInputTokens" => Count::Read,
        b"cached_tokens" | b"prompt_cache_hit_tokens" | b"cachedContentTokenCount" => Count::Cached,
        b"completion_tokens" | b"output_tokens" | b"candidatesTokenCount" | b"outputTokens" | b"outputTokenCount" => {
            Count::Output
        }
        b"reasoning_tokens" | b"thinking_tokens" => Count::Reasoning,
        b"thoughtsTokenCount" => Count::Thought,
        b"toolUsePromptTokenCount" => Count::Tool,
        b"prompt_tokens_details"
        | b"input_tokens_details"
        | b"completion_tokens_details"
        | b"output_tokens_details"
        // Cohere's, beside what it bills.
        | b"tokens" => Count::Details,
        _ => Count::Ignored,
    }
}

/// Counts as found, before the parts are added up.
#[derive(Default)]
struct Found {
    usage: Usage,
    cache_written: u64,
    cache_read: u64,
    thought: u64,
    tool: u64,
    any: bool,
}

/// Validates an answer's body and reads its top-level `usage`; `None` when it has none.
///
/// # Errors
/// When `body` is not JSON.
pub fn read_answer(body: &[u8]) -> Result<Option<Usage>, JsonError> {
    read_whole(body).map(|(usage, _)| usage)
}

/// The same, and where its `choices` stand; nowhere when it has none.
///
/// # Errors
/// When `body` is not JSON.
pub fn read_whole(body: &[u8]) -> Result<(Option<Usage>, Span), JsonError> {
    let mut cursor = Cursor::new(body)?;
    let (mut usage, mut choices) = (None, Span::default());
    let mut bare = Usage::default();
    if cursor.peek()? == b'{' {
        cursor.open()?;
        let mut first = true;
        while let Some(key) = cursor.key(first)? {
            first = false;
            match key.decode(body).as_deref() {
                Some(b"usage" | b"usageMetadata") => usage = read_usage(&mut cursor)?,
                Some(b"choices") => choices = cursor.skip()?,
                // Ollama's counts have no object of their own.
                Some(b"prompt_eval_count") => bare.input = number(&mut cursor)?,
                Some(b"eval_count") => bare.output = number(&mut cursor)?,
                _ => drop(cursor.skip()?),
            }
        }
        if bare != Usage::default() {
            usage = usage.or(Some(bare));
        }
    } else {
        cursor.skip()?;
    }
    cursor.end()?;
    Ok((usage, choices))
}

fn number(cursor: &mut Cursor<'_>) -> Result<u64, JsonError> {
    let value = cursor.skip()?;
    Ok(whole(value.of(cursor.text())).unwrap_or(0))
}

/// Reads the value under the cursor as a `usage` object; `None` when it is not one, or has no count that is known.
///
/// # Errors
/// When the text is not JSON there.
pub fn read_usage(cursor: &mut Cursor<'_>) -> Result<Option<Usage>, JsonError> {
    if cursor.peek()? != b'{' {
        cursor.skip()?;
        return Ok(None);
    }
    let mut found = Found::default();
    read_counts(cursor, &mut found, true)?;
    let Found { mut usage, cache_written, cache_read, thought, tool, any } = found;
    usage.input = usage.input.saturating_add(cache_written).saturating_add(cache_read).saturating_add(tool);
    usage.cached = usage.cached.max(cache_read);
    usage.output = usage.output.saturating_add(thought);
    usage.reasoning = usage.reasoning.max(thought);
    Ok(any.then_some(usage))
}

fn read_counts(cursor: &mut Cursor<'_>, found: &mut Found, outer: bool) -> Result<(), JsonError> {
    cursor.open()?;
    let mut first = true;
    while let Some(key) = cursor.key(first)? {
        first = false;
        let name = key.decode(cursor.text());
        let kind = name.as_deref().map_or(Count::Ignored, count);
        if matches!(kind, Count::Details) && outer && cursor.peek()? == b'{' {
            read_counts(cursor, found, false)?;
            continue;
        }
        let value = cursor.skip()?;
        if let Some(number) = whole(value.of(cursor.text())) {
            found.put(kind, number);
        }
    }
    Ok(())
}

impl Found {
    fn put(&mut self, kind: Count, number: u64) {
        let place = match kind {
            Count::Input => &mut self.usage.input,
            Count::Written => &mut self.cache_written,
            Count::Read => &mut self.cache_read,
            Count::Cached => &mut self.usage.cached,
            Count::Output => &mut self.usage.output,
            Count::Reasoning => &mut self.usage.reasoning,
            Count::Thought => &mut self.thought,
            Count::Tool => &mut self.tool,
            Count::Details | Count::Ignored => return,
        };
        *place = number;
        self.any = true;
    }
}

/// The number that `value` spells, if it is a whole one that is not negative. Saturates, so that no answer can wrap a count.
pub(super) fn whole(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}
