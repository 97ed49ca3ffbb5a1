"""What a client of each dialect may ask for beyond what all can say: one wish at a time, as fields of a request of that dialect."""

from __future__ import annotations

from typing import Any

__all__ = ["BASES", "WISHES"]

Tree = dict[str, Any]

PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}

BASES: dict[str, Tree] = {
    "chat": {"model": "m", "max_completion_tokens": 100, "messages": [{"role": "user", "content": "hi"}]},
    "messages": {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]},
    "generate": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 100}},
    "converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "inferenceConfig": {"maxTokens": 100}},
}
"""The least that can be asked for."""


def chat_user(*parts: Tree, **more: Any) -> Tree:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, *parts], **more}]}


def chat_said(**more: Any) -> Tree:
    said = {"role": "assistant", "content": "so", **more}
    return {"messages": [{"role": "user", "content": "hi"}, said, {"role": "user", "content": "on"}]}


def chat_call(**more: Any) -> Tree:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, **more}
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    return {"messages": [*turns, {"role": "tool", "tool_call_id": "c1", "content": "done"}]}


CHAT: dict[str, Tree] = {
    "n": {"n": 2},
    "seed": {"seed": 7},
    "temperature above one": {"temperature": 1.5},
    "presence_penalty": {"presence_penalty": 0.5},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "logit_bias": {"logit_bias": {"5": -1}},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"logprobs": True, "top_logprobs": 3},
    "json_object": {"response_format": {"type": "json_object"}},
    "a schema that is described": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "description": "what", "schema": SCHEMA, "strict": True}}
    },
    "a strict tool": {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}]},
    "a custom tool": {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
    "allowed tools": {
        "tools": [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in "fg"],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
    },
    "one call at a time": {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        "parallel_tool_calls": False,
    },
    "service_tier flex": {"service_tier": "flex"},
    "service_tier default": {"service_tier": "default"},
    "user": {"user": "u1"},
    "metadata": {"metadata": {"k": "v"}},
    "store": {"store": True},
    "verbosity": {"verbosity": "low"},
    "modalities": {"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}},
    "prediction": {"prediction": {"type": "content", "content": "x"}},
    "web_search_options": {"web_search_options": {"search_context_size": "low"}},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "a field that nobody knows": {"unheard_of": {"a": 1}},
    "reasoning_effort minimal": {"reasoning_effort": "minimal"},
    "reasoning_effort none": {"reasoning_effort": "none"},
    "an image's detail": chat_user({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}),
    "an image behind a URL": chat_user({"type": "image_url", "image_url": {"url": "https://h/a.png"}}),
    "audio": chat_user({"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}),
    "a video": chat_user({"type": "video_url", "video_url": {"url": "https://h/a.mp4"}}),
    "a file of the provider": chat_user({"type": "file", "file": {"file_id": "file-1"}}),
    "a part that nobody knows": chat_user({"type": "smell", "smell": "x"}),
    "a marked part": chat_user({"type": "text", "text": "big", "cache_control": {"type": "ephemeral"}}),
    "a speaker's name": chat_user(name="ann"),
    "a refusal": chat_said(refusal="no"),
    "reasoning": chat_said(reasoning_content="hm"),
    "signed reasoning": chat_said(reasoning_details=[{"type": "reasoning.text", "text": "hm", "signature": "c2ln"}]),
    "hidden reasoning": chat_said(reasoning_details=[{"type": "reasoning.encrypted", "data": "ZGF0YQ=="}]),
    "an answer in sound": chat_said(audio={"id": "audio_1"}),
    "a call with Google's signature": chat_call(extra_content={"google": {"thought_signature": "c2ln"}}),
    "a custom call": {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "f", "input": "free"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
        ]
    },
    "broken arguments": chat_call(function={"name": "f", "arguments": '{"a": '}),
}


def claude_user(*blocks: Tree) -> Tree:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, *blocks]}]}


def claude_said(*blocks: Tree) -> Tree:
    said = [*blocks, {"type": "text", "text": "so"}]
    return {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": said}, {"role": "user", "content": "on"}]}


def claude_result(**more: Any) -> Tree:
    call = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "done", **more}
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [call]}]
    return {"messages": [*turns, {"role": "user", "content": [result]}]}


def document(**more: Any) -> Tree:
    return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PNG}, **more}


MARK = {"type": "ephemeral"}
MESSAGES: dict[str, Tree] = {
    "top_k": {"top_k": 5},
    "metadata": {"metadata": {"user_id": "u"}},
    "service_tier standard_only": {"service_tier": "standard_only"},
    "a marked system prompt": {"system": [{"type": "text", "text": "be", "cache_control": MARK}]},
    "a marked part": claude_user({"type": "text", "text": "big", "cache_control": MARK}),
    "a marked image": claude_user(
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}, "cache_control": MARK}
    ),
    "a marked tool": {"tools": [{"name": "f", "input_schema": SCHEMA, "cache_control": MARK}]},
    "a marked result": claude_result(cache_control=MARK),
    "a tool with examples": {"tools": [{"name": "f", "input_schema": SCHEMA, "input_examples": [{"a": "x"}]}]},
    "a strict tool": {"tools": [{"name": "f", "input_schema": SCHEMA, "strict": True}]},
    "a tool of the provider": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "one call at a time": {
        "tools": [{"name": "f", "input_schema": SCHEMA}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    },
    "a budget of thinking": {"max_tokens": 30_000, "thinking": {"type": "enabled", "budget_tokens": 8_192}},
    "no thinking": {"thinking": {"type": "disabled"}},
    "adaptive thinking": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
    "another wish for the output": {"output_config": {"effort": "low", "unheard_of": 1}},
    "mcp_servers": {"mcp_servers": [{"type": "url", "url": "https://h", "name": "x"}]},
    "context_management": {"context_management": {"edits": []}},
    "a field that nobody knows": {"unheard_of": {"a": 1}},
    "an image behind a URL": claude_user({"type": "image", "source": {"type": "url", "url": "https://h/a.png"}}),
    "an image of the provider": claude_user({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
    "a document behind a URL": claude_user({"type": "document", "source": {"type": "url", "url": "https://h/a.pdf"}}),
    "a document with a title": claude_user(document(title="t")),
    "a document with context": claude_user(document(context="c")),
    "a document to cite": claude_user(document(citations={"enabled": True})),
    "a plain document": claude_user({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}),
    "a part that nobody knows": claude_user({"type": "smell", "smell": "x"}),
    "thinking": claude_said({"type": "thinking", "thinking": "hm", "signature": "c2ln"}),
    "hidden thinking": claude_said({"type": "redacted_thinking", "data": "ZGF0YQ=="}),
    "a search of the provider": claude_said({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}),
    "a text with sources": claude_said(
        {"type": "text", "text": "x", "citations": [{"type": "char_location", "cited_text": "x", "document_index": 0}]}
    ),
    "a failed result": claude_result(is_error=True),
    "a result with an image": claude_result(
        content=[{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]
    ),
}


def gemini_user(*parts: Tree) -> Tree:
    return {"contents": [{"role": "user", "parts": [{"text": "see"}, *parts]}]}


def gemini_said(*parts: Tree) -> Tree:
    user = {"role": "user", "parts": [{"text": "hi"}]}
    return {"contents": [user, {"role": "model", "parts": [*parts, {"text": "so"}]}, {"role": "user", "parts": [{"text": "on"}]}]}


def configured(**config: Any) -> Tree:
    return {"generationConfig": {"maxOutputTokens": 100, **config}}


FUNCTION = {"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}
GENERATE: dict[str, Tree] = {
    "topK": configured(topK=5),
    "candidateCount": configured(candidateCount=2),
    "seed": configured(seed=7),
    "temperature above one": configured(temperature=1.5),
    "presencePenalty": configured(presencePenalty=0.5),
    "logprobs": configured(responseLogprobs=True, logprobs=2),
    "JSON without a schema": configured(responseMimeType="application/json"),
    "an enumeration": configured(responseMimeType="text/x.enum", responseSchema={"type": "STRING", "enum": ["a"]}),
    "modalities": configured(responseModalities=["TEXT", "IMAGE"]),
    "a budget of thinking": configured(thinkingConfig={"thinkingBudget": 8_192, "includeThoughts": True}),
    "a level of thinking": configured(thinkingConfig={"thinkingLevel": "low"}),
    "another wish": configured(speechConfig={"languageCode": "de"}),
    "safetySettings": {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]},
    "cachedContent": {"cachedContent": "cachedContents/1"},
    "labels": {"labels": {"a": "b"}},
    "a field that nobody knows": {"unheardOf": 1},
    "a tool of the provider": {"tools": [{"googleSearch": {}}]},
    "allowed functions": {
        "tools": [{"functionDeclarations": [{"name": name, "parametersJsonSchema": SCHEMA} for name in "fgh"]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}},
    },
    "validated calls": {"tools": [FUNCTION], "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}},
    "where the client is": {
        "tools": [FUNCTION],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}, "retrievalConfig": {"languageCode": "de"}},
    },
    "audio": gemini_user({"inlineData": {"mimeType": "audio/wav", "data": PNG}}),
    "a video": gemini_user({"inlineData": {"mimeType": "video/mp4", "data": PNG}}),
    "a file": gemini_user({"fileData": {"mimeType": "application/pdf", "fileUri": "https://h/files/1"}}),
    "a part that nobody knows": gemini_user({"smell": "x"}),
    "a part of a video": gemini_user(
        {"fileData": {"mimeType": "video/mp4", "fileUri": "https://h/v"}, "videoMetadata": {"startOffset": "1s"}}
    ),
    "a thought": gemini_said({"text": "hm", "thought": True}),
    "a signed thought": gemini_said({"text": "hm", "thought": True, "thoughtSignature": "c2ln"}),
    "a signed text": gemini_said({"text": "hm", "thoughtSignature": "c2ln"}),
    "a program of the provider": gemini_said({"executableCode": {"language": "PYTHON", "code": "1"}}),
    "a signed call": {
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "x"}}}]},
        ]
    },
}


def bedrock_user(*blocks: Tree) -> Tree:
    return {"messages": [{"role": "user", "content": [{"text": "see"}, *blocks]}]}


def bedrock_said(*blocks: Tree) -> Tree:
    said = {"role": "assistant", "content": [*blocks, {"text": "so"}]}
    return {"messages": [{"role": "user", "content": [{"text": "hi"}]}, said, {"role": "user", "content": [{"text": "on"}]}]}


def bedrock_result(*content: Tree, **more: Any) -> Tree:
    call = {"toolUse": {"toolUseId": "c1", "name": "f", "input": {}}}
    result = {"toolResult": {"toolUseId": "c1", "content": [*content], **more}}
    turns = [{"role": "user", "content": [{"text": "hi"}]}, {"role": "assistant", "content": [call]}]
    return {"messages": [*turns, {"role": "user", "content": [result]}]}


def of_model(**fields: Any) -> Tree:
    return {"inferenceConfig": {"maxTokens": 30_000}, "additionalModelRequestFields": fields}


POINT = {"cachePoint": {"type": "default", "ttl": "1h"}}
SPEC = {"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}
CONVERSE: dict[str, Tree] = {
    "top_k": of_model(top_k=5),
    "topK of Amazon's": of_model(inferenceConfig={"topK": 5}),
    "seed": of_model(seed=7),
    "presence_penalty": of_model(presence_penalty=0.5),
    "a field of the model that nobody knows": of_model(unheard_of={"a": 1}),
    "a field that nobody knows": {"unheardOf": {"a": 1}},
    "another wish for the output": {"outputConfig": {"unheardOf": 1}},
    "guardrailConfig": {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}},
    "promptVariables": {"promptVariables": {"a": {"text": "b"}}},
    "fields of the answer": {"additionalModelResponseFieldPaths": ["/stop_sequence"]},
    "requestMetadata": {"requestMetadata": {"a": "b"}},
    "performanceConfig": {"performanceConfig": {"latency": "optimized"}},
    "serviceTier": {"serviceTier": {"type": "flex"}},
    "a budget of thinking": of_model(thinking={"type": "enabled", "budget_tokens": 8_192}),
    "no thinking": of_model(thinking={"type": "disabled"}),
    "adaptive thinking": {**of_model(thinking={"type": "adaptive"}), "outputConfig": {"effort": "low"}},
    "effort of Amazon's": of_model(reasoningConfig={"type": "enabled", "maxReasoningEffort": "low"}),
    "effort of OpenAI's": of_model(reasoning_effort="high"),
    "a schema that is described": {
        "outputConfig": {
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"name": "x", "description": "what", "schema": '{"type":"object","properties":{}}'}},
            }
        }
    },
    "a marked system prompt": {"system": [{"text": "be"}, POINT]},
    "a marked part": bedrock_user({"text": "big"}, POINT),
    "a marked tool": {"toolConfig": {"tools": [SPEC, POINT]}},
    "a strict tool": {"toolConfig": {"tools": [{"toolSpec": {**SPEC["toolSpec"], "strict": True}}]}},
    "a tool of the provider": {"toolConfig": {"tools": [{"systemTool": {"name": "nova_code_interpreter"}}]}},
    "a guarded text": bedrock_user({"guardContent": {"text": {"text": "x", "qualifiers": ["query"]}}}),
    "an image in S3": bedrock_user({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k", "bucketOwner": "1"}}}}),
    "a video": bedrock_user({"video": {"format": "three_gp", "source": {"bytes": PNG}}}),
    "audio": bedrock_user({"audio": {"format": "wav", "source": {"bytes": PNG}}}),
    "a document with context": bedrock_user({"document": {"format": "pdf", "name": "t", "source": {"bytes": PNG}, "context": "c"}}),
    "a document to cite": bedrock_user(
        {"document": {"format": "pdf", "name": "t", "source": {"bytes": PNG}, "citations": {"enabled": True}}}
    ),
    "a plain document": bedrock_user({"document": {"format": "csv", "name": "t", "source": {"bytes": "YSxi"}}}),
    "a document in pieces": bedrock_user({"document": {"format": "txt", "name": "t", "source": {"content": [{"text": "a"}]}}}),
    "a result of a search": bedrock_user({"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}]}}),
    "a part that nobody knows": bedrock_user({"smell": {"a": 1}}),
    "thinking": bedrock_said({"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}),
    "unsigned thinking": bedrock_said({"reasoningContent": {"reasoningText": {"text": "hm"}}}),
    "hidden thinking": bedrock_said({"reasoningContent": {"redactedContent": "ZGF0YQ=="}}),
    "a text with sources": bedrock_said(
        {"citationsContent": {"content": [{"text": "x"}], "citations": [{"location": {"documentChar": {"documentIndex": 0}}}]}}
    ),
    "a search of the provider": bedrock_said(
        {"toolUse": {"toolUseId": "s1", "name": "web_search", "input": {}, "type": "server_tool_use"}}
    ),
    "a failed result": bedrock_result({"text": "no"}, status="error"),
    "a result with an image": bedrock_result({"image": {"format": "png", "source": {"bytes": PNG}}}),
    "a result that is JSON": bedrock_result({"json": {"a": [1]}}),
}

WISHES = {"chat": CHAT, "messages": MESSAGES, "generate": GENERATE, "converse": CONVERSE}
"""By dialect and name, fields that take the place of those in `BASES`."""
