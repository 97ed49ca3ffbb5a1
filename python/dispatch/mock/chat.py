"""The chat and completions doors (https://platform.openai.com/docs/api-reference/chat, /completions)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from dispatch.mock.logprobs import told
from dispatch.mock.script import Script

if TYPE_CHECKING:
    from dispatch.mock.ask import Ask
    from dispatch.mock.content import Content

__all__ = ["chat_script", "chat_whole", "completions_script", "completions_whole", "usage"]


def usage(ask: Ask, tokens_out: int, cached_share: float) -> bytes:
    """Write the usage object of these doors."""
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
    ) % (ask.tokens_in, tokens_out, ask.tokens_in + tokens_out, int(ask.tokens_in * cached_share))


def _start(identity: str, kind: str, model: str) -> bytes:
    return b'{"id":"%b","object":"%b","created":%d,"model":%b,"system_fingerprint":"fp_mock"' % (
        identity.encode(),
        kind.encode(),
        int(time.time()),
        msgspec.json.encode(model),
    )


def _call(identity: str, name: str) -> bytes:
    return b'"id":"call_%b","type":"function","function":{"name":%b,"arguments":' % (identity[-24:].encode(), msgspec.json.encode(name))


def chat_whole(ask: Ask, content: Content, identity: str, cached_share: float) -> bytes:
    """Write a chat completion."""
    if content.tool:
        message = b'"content":null,"tool_calls":[{%b%b}}]' % (_call(identity, content.tool), content.quoted)
    else:
        message = b'"content":' + content.quoted
    logprobs = b"null" if content.logprob is None else told(content.pieces, content.logprob, ask.top_logprobs)
    choices = b",".join(
        b'{"index":%d,"message":{"role":"assistant",%b,"refusal":null},"logprobs":%b,"finish_reason":"%b"}'
        % (index, message, logprobs, content.finish.encode())
        for index in range(ask.n)
    )
    numbers = usage(ask, content.tokens * ask.n, cached_share)
    return b'%b,"choices":[%b],"usage":%b}' % (_start(identity, "chat.completion", ask.model), choices, numbers)


def chat_script(ask: Ask, content: Content, identity: str, cached_share: float) -> Script:
    """Write the events of a chat completion."""
    start = b"data: " + _start(identity, "chat.completion.chunk", ask.model)
    tail = b',"usage":null' if ask.include_usage else b""
    opening, prefixes, finish = [], [], []
    for index in range(ask.n):
        choice = b'%b,"choices":[{"index":%d,"delta":' % (start, index)
        if content.tool:
            first = b'{"role":"assistant","content":null,"tool_calls":[{"index":0,%b""}}],"refusal":null}' % _call(identity, content.tool)
            prefixes.append(choice + b'{"tool_calls":[{"index":0,"function":{"arguments":"')
        else:
            first = b'{"role":"assistant","content":"","refusal":null}'
            prefixes.append(choice + b'{"content":"')
        opening.append(b'%b%b,"logprobs":null,"finish_reason":null}]%b}\n\n' % (choice, first, tail))
        finish.append(b'%b{},"logprobs":null,"finish_reason":"%b"}]%b}\n\n' % (choice, content.finish.encode(), tail))
    close = (b'"}}]}' if content.tool else b'"}') + b',"logprobs":'
    pieces, null = content.pieces, close + b"null"
    if content.logprob is not None:
        pieces, null = tuple(piece + close + told([piece], content.logprob, ask.top_logprobs) for piece in pieces), b""
    script = Script(
        opening=b"".join(opening),
        prefixes=tuple(prefixes),
        pieces=pieces,
        suffix=null + b',"finish_reason":null}]' + tail + b"}\n\n",
        tokens=content.tokens * ask.n,
    )
    script.finish = b"".join(finish)
    if ask.include_usage:
        script.usage = b'%b,"choices":[],"usage":%b}\n\n' % (start, usage(ask, script.tokens, cached_share))
    return script


def completions_whole(ask: Ask, content: Content, identity: str, cached_share: float) -> bytes:
    """Write a text completion."""
    choices = b",".join(
        b'{"index":%d,"text":%b,"logprobs":null,"finish_reason":"%b"}' % (index, content.quoted, content.finish.encode())
        for index in range(ask.n)
    )
    numbers = usage(ask, content.tokens * ask.n, cached_share)
    return b'%b,"choices":[%b],"usage":%b}' % (_start(identity, "text_completion", ask.model), choices, numbers)


def completions_script(ask: Ask, content: Content, identity: str, cached_share: float) -> Script:
    """Write the events of a text completion."""
    start = b"data: " + _start(identity, "text_completion", ask.model)
    tail = b',"usage":null' if ask.include_usage else b""
    indices = range(ask.n)
    script = Script(
        opening=b"",
        prefixes=tuple(b'%b,"choices":[{"index":%d,"text":"' % (start, index) for index in indices),
        pieces=content.pieces,
        suffix=b'","logprobs":null,"finish_reason":null}]' + tail + b"}\n\n",
        tokens=content.tokens * ask.n,
    )
    script.finish = b"".join(
        b'%b,"choices":[{"index":%d,"text":"","logprobs":null,"finish_reason":"%b"}]%b}\n\n' % (start, index, content.finish.encode(), tail)
        for index in indices
    )
    if ask.include_usage:
        script.usage = b'%b,"choices":[],"usage":%b}\n\n' % (start, usage(ask, script.tokens, cached_share))
    return script
