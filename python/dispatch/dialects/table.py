"""The dialects of chat, and which doors of the sidecar speak which."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from dispatch.dialects.chat.answers import read_answer as read_chat_answer
from dispatch.dialects.chat.answers import write_answer as write_chat_answer
from dispatch.dialects.chat.read_request import read_request as read_chat_request
from dispatch.dialects.chat.stream import ChatReader, ChatWriter
from dispatch.dialects.chat.write_request import write_request as write_chat_request
from dispatch.dialects.cohere.answers import CohereReader
from dispatch.dialects.cohere.answers import read_answer as read_cohere_answer
from dispatch.dialects.cohere.write_request import write_request as write_cohere_request
from dispatch.dialects.completions.answers import read_answer as read_completion_answer
from dispatch.dialects.completions.prompts import PromptWriter, write_completion
from dispatch.dialects.completions.prompts import read_prompt as read_completion
from dispatch.dialects.converse.answers import read_answer as read_converse_answer
from dispatch.dialects.converse.answers import write_answer as write_converse_answer
from dispatch.dialects.converse.read_request import read_request as read_converse_request
from dispatch.dialects.converse.stream import ConverseReader
from dispatch.dialects.converse.write_request import write_request as write_converse_request
from dispatch.dialects.converse.writer import ConverseWriter
from dispatch.dialects.form import Answer, Request
from dispatch.dialects.generate.answers import read_answer as read_generate_answer
from dispatch.dialects.generate.answers import write_answer as write_generate_answer
from dispatch.dialects.generate.read_request import read_request as read_generate_request
from dispatch.dialects.generate.stream import GenerateReader, GenerateWriter
from dispatch.dialects.generate.write_request import write_request as write_generate_request
from dispatch.dialects.messages.answers import read_answer as read_messages_answer
from dispatch.dialects.messages.answers import write_answer as write_messages_answer
from dispatch.dialects.messages.read_request import read_request as read_messages_request
from dispatch.dialects.messages.stream import MessagesReader, MessagesWriter
from dispatch.dialects.messages.write_request import write_request as write_messages_request
from dispatch.dialects.ollama.answers import read_answer as read_ollama_answer
from dispatch.dialects.ollama.answers import write_answer as write_ollama_answer
from dispatch.dialects.ollama.answers import write_generate_answer as write_prompted_answer
from dispatch.dialects.ollama.read_request import read_generate_request as read_prompt
from dispatch.dialects.ollama.read_request import read_request as read_ollama_request
from dispatch.dialects.ollama.stream import GenerateLineWriter, LineWriter, OllamaReader
from dispatch.dialects.ollama.write_request import write_request as write_ollama_request
from dispatch.dialects.responses.answers import read_answer as read_responses_answer
from dispatch.dialects.responses.answers import write_answer as write_responses_answer
from dispatch.dialects.responses.read_request import read_request as read_responses_request
from dispatch.dialects.responses.stream import ResponsesReader
from dispatch.dialects.responses.write_request import write_request as write_responses_request
from dispatch.dialects.responses.writer import ResponsesWriter
from dispatch.dialects.target import Losses, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dispatch.dialects.form import Event

__all__ = ["DIALECTS", "HOSTED", "Dialect", "Hosted", "Reader", "Writer"]


class Reader(Protocol):
    """Reads one stream. Keeps only what it needs to understand the next event."""

    def read(self, data: bytes, /) -> list[Event]:
        """Read the data of one event; what is no event of the dialect is `Unknown`."""


class Writer(Protocol):
    """Writes one stream, as whole events."""

    lost: list[str]
    """Names of what could not be told."""

    def write(self, events: Iterable[Event], /) -> bytes:
        """Write what has come. Content is never kept back."""

    def end(self) -> bytes:
        """Write what ends a complete stream."""


class Dialect(Struct, frozen=True):
    """The readers and writers of one dialect."""

    read_request: Callable[[bytes], Request]
    write_request: Callable[[Request, Target, Losses], bytes]
    read_answer: Callable[[bytes], Answer]
    write_answer: Callable[[Answer, int, Losses], bytes]
    """The second argument is the time, seconds since 1970."""
    reader: Callable[[], Reader]
    writer: Callable[..., Writer]
    """Called with the time and `wants_usage`."""
    is_lines: bool = False
    """Each line of a stream is an event, in place of server-sent events."""


DIALECTS: Mapping[str, Dialect] = {
    "chat": Dialect(read_chat_request, write_chat_request, read_chat_answer, write_chat_answer, ChatReader, ChatWriter),
    "messages": Dialect(
        read_messages_request, write_messages_request, read_messages_answer, write_messages_answer, MessagesReader, MessagesWriter
    ),
    "generate": Dialect(
        read_generate_request, write_generate_request, read_generate_answer, write_generate_answer, GenerateReader, GenerateWriter
    ),
    "responses": Dialect(
        read_responses_request, write_responses_request, read_responses_answer, write_responses_answer, ResponsesReader, ResponsesWriter
    ),
    "converse": Dialect(
        read_converse_request, write_converse_request, read_converse_answer, write_converse_answer, ConverseReader, ConverseWriter
    ),
    "completions": Dialect(read_completion, write_chat_request, read_completion_answer, write_completion, ChatReader, PromptWriter),
    "ollama": Dialect(
        read_ollama_request, write_ollama_request, read_ollama_answer, write_ollama_answer, OllamaReader, LineWriter, is_lines=True
    ),
    "ollama_generate": Dialect(
        read_prompt, write_ollama_request, read_ollama_answer, write_prompted_answer, OllamaReader, GenerateLineWriter, is_lines=True
    ),
}
"""By the name of the door that speaks it."""


class Hosted(Struct, frozen=True):
    """What endpoints speak under a name of their own: Anthropic's dialect at another host, or one whose answers lack what others have."""

    write_request: Callable[[Request, Target, Losses], bytes]
    read_answer: Callable[[bytes], Answer]
    reader: Callable[..., Reader]
    """Called with an id and the model's name where `is_nameless`."""
    is_nameless: bool = False
    """Its answers have neither an id nor the model's name."""
    is_lines: bool = False
    """Each line of a stream is an event."""
    like: str = ""
    """The door whose requests and answers are its own, but for a few fields."""


HOSTED: Mapping[str, Hosted] = {
    "invoke": Hosted(write_messages_request, read_messages_answer, MessagesReader, like="messages"),
    "predict": Hosted(write_messages_request, read_messages_answer, MessagesReader, like="messages"),
    "converse": Hosted(write_converse_request, read_converse_answer, ConverseReader, is_nameless=True),
    "cohere": Hosted(write_cohere_request, read_cohere_answer, CohereReader, is_nameless=True),
}
"""By the name under which providers give out their heads: Bedrock's InvokeModel, Vertex's rawPredict, Bedrock's Converse, Cohere's chat."""
