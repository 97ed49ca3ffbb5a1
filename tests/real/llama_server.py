"""llama.cpp's own server on a model of 120,000 random parameters that is made here: `python llama_server.py FOLDER`.

Runs where the packages of `make real` are; prints its address when it listens, and ends with its standard input. Nothing is fetched.
The model talks nonsense, byte by byte, which is what a proxy should see: broken characters, odd cuts, real counts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found]  # installed by `make real`, for this script alone
import numpy as np
import xllamacpp  # type: ignore[import-not-found]  # as above

WIDTH, INNER, HEADS, LAYERS = 64, 128, 2, 2
SPECIAL = ["<|bos|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def alphabet() -> list[str]:
    """GPT-2's characters for the 256 bytes: printable ones stand for themselves, the rest from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in plain] + [chr(256 + at) for at in range(256 - len(plain))]


def write_model(path: Path) -> None:
    """Write a random Llama whose tokens are bytes."""
    vocabulary = SPECIAL + alphabet()
    file = gguf.GGUFWriter(str(path), "llama")
    file.add_context_length(2048)
    file.add_embedding_length(WIDTH)
    file.add_block_count(LAYERS)
    file.add_feed_forward_length(INNER)
    file.add_head_count(HEADS)
    file.add_head_count_kv(HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_vocab_size(len(vocabulary))
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("default")
    file.add_token_list(vocabulary)
    file.add_token_types([gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.NORMAL] * 256)
    # The reader insists on one.
    file.add_token_merges(["a b"])
    file.add_bos_token_id(0)
    file.add_eos_token_id(2)
    file.add_chat_template(TEMPLATE)
    for name, tensor in tensors(len(vocabulary)):
        file.add_tensor(name, tensor)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def tensors(tokens: int) -> list[tuple[str, Any]]:
    """Give all weights, drawn from one seed."""
    generator = np.random.default_rng(0)
    square, ones = (WIDTH, WIDTH), np.ones(WIDTH, np.float32)
    shapes = {"token_embd": (tokens, WIDTH), "output": (tokens, WIDTH)}
    found = [("output_norm.weight", ones)]
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        found += [(f"{block}.attn_norm.weight", ones), (f"{block}.ffn_norm.weight", ones)]
        shapes |= {f"{block}.attn_{part}": square for part in ("q", "k", "v", "output")}
        shapes |= {f"{block}.ffn_gate": (INNER, WIDTH), f"{block}.ffn_up": (INNER, WIDTH), f"{block}.ffn_down": (WIDTH, INNER)}
    drawn = [(f"{name}.weight", (generator.standard_normal(shape) * 0.3).astype(np.float32)) for name, shape in shapes.items()]
    return found + drawn


def serve(path: Path) -> None:
    """Start the server, tell where, and stay until standard input ends."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.model_alias = {"tiny"}
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.n_ctx, settings.n_parallel = 4096, 4
    settings.cpuparams.n_threads = 1
    settings.warmup = False
    settings.use_jinja = True
    settings.verbosity = 1
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)  # noqa: T201  # this is its answer
    sys.stdin.read()


if __name__ == "__main__":
    model = Path(sys.argv[1]) / "tiny.gguf"
    write_model(model)
    serve(model)
