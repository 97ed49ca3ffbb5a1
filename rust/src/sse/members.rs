//! The names that are read in an event, of all dialects.

/// The members that are read.
pub(super) enum Member {
    Kind,
    Object,
    Error,
    Usage,
    /// An object that may hold `usage`.
    Envelope,
    Choices,
    Delta,
    /// Arguments of a call, all of them.
    Arguments,
    Index,
    /// Gemini's word on a prompt that it refuses.
    PromptFeedback,
    /// What an event with usage may tell beside it, about the same tokens.
    Statistics,
    /// Bedrock's events, each in a member of its name: a piece of a block, and why the message ended.
    BlockDelta,
    MessageStop,
    /// Bedrock's counts in the last event of a model that answers in its maker's words.
    Metrics,
    /// What the last event has in their place where a guardrail blocked the prompt, so that no model was asked.
    Blocked,
    Other,
}

/// Which one a name means.
pub(super) fn member(name: &[u8]) -> Member {
    match name {
        b"choices" | b"candidates" => Member::Choices,
        b"usage" | b"usageMetadata" => Member::Usage,
        b"promptFeedback" => Member::PromptFeedback,
        b"object" => Member::Object,
        b"type" => Member::Kind,
        b"delta" => Member::Delta,
        b"error" => Member::Error,
        b"arguments" => Member::Arguments,
        b"index" | b"output_index" => Member::Index,
        // Anthropic, `OpenAI` Responses, Groq, Bedrock.
        b"message" | b"response" | b"x_groq" | b"metadata" => Member::Envelope,
        // llama.cpp's server: how long the tokens of `usage` took.
        b"timings" => Member::Statistics,
        b"contentBlockDelta" => Member::BlockDelta,
        b"messageStop" => Member::MessageStop,
        b"amazon-bedrock-invocationMetrics" => Member::Metrics,
        b"amazon-bedrock-trace" | b"totalOutputTextTokenCount" => Member::Blocked,
        _ => Member::Other,
    }
}

/// Members of a choice, or of its delta, that are an answer's substance when they are not empty.
pub(super) fn is_substance(name: &[u8]) -> bool {
    matches!(
        name,
        b"content"
            | b"reasoning_content"
            | b"reasoning"
            | b"tool_calls"
            | b"function_call"
            | b"refusal"
            | b"audio"
            | b"text"
    )
}
