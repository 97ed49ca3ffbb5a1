"""How each dialect says what plans change of a request: its turns, their parts, instructions, and how an answer is to be.

A tongue reads and makes trees of its dialect; none is changed in place. Bodies stay in the client's own dialect, so that whatever no plan
looks at reaches an endpoint of that dialect as the client wrote it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatch.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatch.dialects import Tree

__all__ = ["TONGUES", "Tongue", "is_text"]

_MAX_TOKENS = 1024
"""For dialects that need a limit, where a plan asks in its own words."""
_COMPLETION_TOKENS = 16
"""What OpenAI's completions give a request that says nothing of it."""
_TEXTS = frozenset(("text", "input_text"))


def is_text(part: Tree) -> bool:
    """Whether a part is text."""
    return "text" in part and part.get("type", "text") in _TEXTS


def _but(tree: Tree, *names: str) -> Tree:
    """A tree without some of its members."""
    return {name: value for name, value in tree.items() if name not in names}


def _unsure(content: list[Tree]) -> list[Tree]:
    """The parts of a message of the Responses API without logprobs."""
    return [one | {"logprobs": []} if "logprobs" in one else one for one in content]


def _whole(found: object) -> int:
    """A number above 0; 0 for anything else."""
    return found if isinstance(found, int) and found > 0 else 0


class Tongue:
    """OpenAI's chat completions; the others are told by how they differ."""

    turns = "messages"
    """Where the conversation stands."""
    content = "content"
    """Where a turn has its parts."""
    is_silent = False
    """Whether it has no word for how sure a model is of its tokens."""

    def whole(self, tree: Tree) -> Tree:
        """Ask for a whole answer."""
        return {key: value for key, value in tree.items() if key not in ("stream", "stream_options")}

    def streamed(self, tree: Tree, *, with_usage: bool) -> Tree:
        """Ask for a stream."""
        more: Tree = {"stream": True}
        if with_usage:
            more["stream_options"] = {"include_usage": True}
        return tree | more

    def sampled(self, tree: Tree, changes: Tree) -> Tree:
        """Ask at another `temperature` or `seed`."""
        return tree | changes

    def with_logprobs(self, tree: Tree) -> Tree:
        """Ask how sure the model was of each token."""
        return tree if self.is_silent else tree | {"logprobs": True}

    def without_logprobs(self, answer: Tree) -> Tree:
        """An answer without them."""
        return answer | {"choices": [one | {"logprobs": None} for one in answer["choices"]]}

    def read_turns(self, tree: Tree) -> list[Tree]:
        """The conversation."""
        found = tree.get(self.turns)
        return [turn for turn in found if isinstance(turn, dict)] if isinstance(found, list) else []

    def with_turns(self, tree: Tree, turns: list[Tree]) -> Tree:
        """The request with another conversation."""
        return tree | {self.turns: turns}

    def is_users(self, turn: Tree) -> bool:
        """Whether the user said it."""
        return bool(turn.get("role") == "user")

    def turn(self, role: str, text: str) -> Tree:
        """What `user` or `assistant` says."""
        return {"role": role, "content": text}

    def parts_of(self, turn: Tree) -> list[Tree]:
        """The parts of a turn."""
        found = turn.get(self.content)
        if isinstance(found, str):
            return [self.text_part(found)]
        return [part for part in found or () if isinstance(part, dict)]

    def with_parts(self, turn: Tree, parts: list[Tree]) -> Tree:
        """The turn with other parts."""
        # One part of text is written as most clients write it, which every server takes.
        plain = len(parts) == 1 and is_text(parts[0])
        return turn | {self.content: parts[0]["text"] if plain else parts}

    def text_part(self, text: str) -> Tree:
        """Text as a part."""
        return {"type": "text", "text": text}

    def prefaced(self, tree: Tree, text: str) -> Tree:
        """More instructions before the client's own."""
        return tree | {"messages": [{"role": "system", "content": text}, *(tree.get("messages") or ())]}

    def anew(self, tree: Tree, prompt: str, max_tokens: int | None) -> Tree:
        """Another question under the same model's name."""
        asked = self.with_turns(self.limited(tree, max_tokens), [self.turn("user", prompt)])
        return {"model": tree["model"], **asked} if "model" in tree else asked

    def limited(self, tree: Tree, max_tokens: int | None) -> Tree:
        """What says how long an answer may be; `tree` is the client's request."""
        del tree
        return {"max_tokens": max_tokens} if max_tokens else {}

    def longest(self, tree: Tree) -> int:
        """Tokens that the answers may have at most; 0: nothing says so."""
        return _whole(tree.get("max_completion_tokens") or tree.get("max_tokens")) * (_whole(tree.get("n")) or 1)


class _Messages(Tongue):
    """Anthropic's messages."""

    is_silent = True

    def streamed(self, tree: Tree, *, with_usage: bool) -> Tree:
        del with_usage
        return tree | {"stream": True}

    def sampled(self, tree: Tree, changes: Tree) -> Tree:
        return tree | {key: value for key, value in changes.items() if key != "seed"}

    def prefaced(self, tree: Tree, text: str) -> Tree:
        before = tree.get("system")
        own = [self.text_part(before)] if isinstance(before, str) else [*(before or ())]
        return tree | {"system": [self.text_part(text), *own]}

    def limited(self, tree: Tree, max_tokens: int | None) -> Tree:
        return {"max_tokens": max_tokens or tree.get("max_tokens") or _MAX_TOKENS}


class _Generate(Tongue):
    """Google's Gemini."""

    turns = "contents"
    content = "parts"

    def streamed(self, tree: Tree, *, with_usage: bool) -> Tree:
        del with_usage
        return tree | {"stream": True}

    def sampled(self, tree: Tree, changes: Tree) -> Tree:
        return tree | {"generationConfig": (tree.get("generationConfig") or {}) | changes}

    def with_logprobs(self, tree: Tree) -> Tree:
        return self.sampled(tree, {"responseLogprobs": True})

    def without_logprobs(self, answer: Tree) -> Tree:
        return answer | {"candidates": [_but(one, "logprobsResult", "avgLogprobs") for one in answer["candidates"]]}

    def is_users(self, turn: Tree) -> bool:
        return bool(turn.get("role", "user") == "user")

    def turn(self, role: str, text: str) -> Tree:
        return {"role": "model" if role == "assistant" else role, "parts": [{"text": text}]}

    def with_parts(self, turn: Tree, parts: list[Tree]) -> Tree:
        return turn | {"parts": parts}

    def text_part(self, text: str) -> Tree:
        return {"text": text}

    def prefaced(self, tree: Tree, text: str) -> Tree:
        # Google takes both spellings; two of them in one body would be an error.
        name = next((one for one in ("systemInstruction", "system_instruction") if one in tree), "systemInstruction")
        before = tree.get(name)
        own: list[Any] = [{"text": before}] if isinstance(before, str) else (before or {}).get("parts") or []
        return tree | {name: {"parts": [{"text": text}, *own]}}

    def limited(self, tree: Tree, max_tokens: int | None) -> Tree:
        return {"generationConfig": {"maxOutputTokens": max_tokens}} if max_tokens else {}

    def longest(self, tree: Tree) -> int:
        config = tree.get("generationConfig") or {}
        return _whole(config.get("maxOutputTokens")) * (_whole(config.get("candidateCount")) or 1)


class _Converse(Tongue):
    """Bedrock's Converse. A part is told by its only member; whether it is a stream stands in the path."""

    is_silent = True

    def streamed(self, tree: Tree, *, with_usage: bool) -> Tree:
        del with_usage
        return tree | {"stream": True}

    def sampled(self, tree: Tree, changes: Tree) -> Tree:
        # A seed has no place beside these.
        own = {key: value for key, value in changes.items() if key != "seed"}
        return tree | {"inferenceConfig": (tree.get("inferenceConfig") or {}) | own}

    def turn(self, role: str, text: str) -> Tree:
        return {"role": role, "content": [self.text_part(text)]}

    def with_parts(self, turn: Tree, parts: list[Tree]) -> Tree:
        return turn | {"content": parts}

    def text_part(self, text: str) -> Tree:
        return {"text": text}

    def prefaced(self, tree: Tree, text: str) -> Tree:
        return tree | {"system": [self.text_part(text), *(tree.get("system") or ())]}

    def limited(self, tree: Tree, max_tokens: int | None) -> Tree:
        return {"inferenceConfig": {"maxTokens": max_tokens}} if max_tokens else {}

    def longest(self, tree: Tree) -> int:
        return _whole((tree.get("inferenceConfig") or {}).get("maxTokens"))


class _Responses(Tongue):
    """OpenAI's responses."""

    turns = "input"

    def streamed(self, tree: Tree, *, with_usage: bool) -> Tree:
        del with_usage
        return tree | {"stream": True}

    def sampled(self, tree: Tree, changes: Tree) -> Tree:
        return tree | {key: value for key, value in changes.items() if key != "seed"}

    def with_logprobs(self, tree: Tree) -> Tree:
        wanted = "message.output_text.logprobs"
        included = tree.get("include") or []
        return tree if wanted in included else tree | {"include": [*included, wanted]}

    def without_logprobs(self, answer: Tree) -> Tree:
        return answer | {"output": [one | {"content": _unsure(one["content"])} if one.get("content") else one for one in answer["output"]]}

    def read_turns(self, tree: Tree) -> list[Tree]:
        found = tree.get("input")
        return [self.turn("user", found)] if isinstance(found, str) else super().read_turns(tree)

    def with_parts(self, turn: Tree, parts: list[Tree]) -> Tree:
        return turn | {"content": parts}

    def text_part(self, text: str) -> Tree:
        return {"type": "input_text", "text": text}

    def prefaced(self, tree: Tree, text: str) -> Tree:
        own = tree.get("instructions")
        return tree | {"instructions": f"{text}\n\n{own}" if own else text}

    def limited(self, tree: Tree, max_tokens: int | None) -> Tree:
        # What a plan asks for itself needs to be kept by nobody.
        return {"store": False} | ({"max_output_tokens": max_tokens} if max_tokens else {})

    def longest(self, tree: Tree) -> int:
        return _whole(tree.get("max_output_tokens"))


class _Ollama(Tongue):
    """Ollama's chat. Pictures stand beside the text of a turn, and a request that says nothing is one for a stream."""

    def whole(self, tree: Tree) -> Tree:
        return tree | {"stream": False}

    def streamed(self, tree: Tree, *, with_usage: bool) -> Tree:
        del with_usage
        return tree | {"stream": True}

    def sampled(self, tree: Tree, changes: Tree) -> Tree:
        return tree | {"options": (tree.get("options") or {}) | changes}

    def without_logprobs(self, answer: Tree) -> Tree:
        return _but(answer, "logprobs")

    def parts_of(self, turn: Tree) -> list[Tree]:
        text = turn.get("content")
        images = [{"type": "image", "data": data} for data in turn.get("images") or ()]
        return [self.text_part(text), *images] if isinstance(text, str) and text else images

    def with_parts(self, turn: Tree, parts: list[Tree]) -> Tree:
        text = "\n\n".join(part["text"] for part in parts if is_text(part))
        images = [part["data"] for part in parts if part.get("type") == "image"]
        kept = {key: value for key, value in turn.items() if key != "images"}
        return {**kept, "content": text, **({"images": images} if images else {})}

    def limited(self, tree: Tree, max_tokens: int | None) -> Tree:
        del tree
        return {"stream": False} | ({"options": {"num_predict": max_tokens}} if max_tokens else {})

    def longest(self, tree: Tree) -> int:
        return _whole((tree.get("options") or {}).get("num_predict"))


def _text_of(turns: list[Tree]) -> str:
    """A conversation as one prompt: what was said, one after the other."""
    return "\n\n".join(said for turn in turns if (said := turn.get("content")))


class _Completions(Tongue):
    """OpenAI's completions: the prompt is all there is, and whatever is said beside it stands in it."""

    turns = "prompt"

    def with_logprobs(self, tree: Tree) -> Tree:
        return {"logprobs": 0} | tree

    def read_turns(self, tree: Tree) -> list[Tree]:
        prompt = tree.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        if not isinstance(prompt, str):
            raise BadRequest("prompt: a plan over several models takes one text", code="unsupported_parameter", param="prompt")
        return [self.turn("user", prompt)]

    def with_turns(self, tree: Tree, turns: list[Tree]) -> Tree:
        return tree | {"prompt": _text_of(turns)}

    def with_parts(self, turn: Tree, parts: list[Tree]) -> Tree:
        return turn | {"content": "\n\n".join(part["text"] for part in parts if is_text(part))}

    def prefaced(self, tree: Tree, text: str) -> Tree:
        return self.with_turns(tree, [self.turn("system", text), *self.read_turns(tree)])

    def limited(self, tree: Tree, max_tokens: int | None) -> Tree:
        # Sixteen tokens, which is what a request gets that says nothing, are too few for a plan's own words.
        return {"max_tokens": max_tokens or tree.get("max_tokens") or _MAX_TOKENS}

    def longest(self, tree: Tree) -> int:
        choices = max(_whole(tree.get("n")), _whole(tree.get("best_of")), 1)
        return (_whole(tree.get("max_tokens")) or _COMPLETION_TOKENS) * choices


class _Generated(_Ollama):
    """Ollama's generate: a prompt, with its pictures and what stands before it beside it."""

    turns = "prompt"

    def read_turns(self, tree: Tree) -> list[Tree]:
        return [{"role": "user", "content": tree.get("prompt") or "", "images": tree.get("images") or []}]

    def with_turns(self, tree: Tree, turns: list[Tree]) -> Tree:
        images = [image for turn in turns for image in turn.get("images") or ()]
        kept = {key: value for key, value in tree.items() if key != "images"}
        return {**kept, "prompt": _text_of(turns), **({"images": images} if images else {})}

    def prefaced(self, tree: Tree, text: str) -> Tree:
        own = tree.get("system")
        return tree | {"system": f"{text}\n\n{own}" if own else text}


TONGUES: Mapping[str, Tongue] = {
    "chat": Tongue(),
    "messages": _Messages(),
    "generate": _Generate(),
    "converse": _Converse(),
    "responses": _Responses(),
    "ollama": _Ollama(),
    "completions": _Completions(),
    "ollama_generate": _Generated(),
}
"""By the name of the door, as of whole answers."""
