"""A language model of 100 KiB for llama.cpp: random weights, so what it says is nonsense, but it says it for real."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy

_EMBEDDING, _FEED_FORWARD, _HEADS = 32, 64, 2
_BYTES = [f"<0x{byte:02X}>".encode() for byte in range(256)]
_LETTERS = [bytes([letter]) for letter in b"abcdefghijklmnopqrstuvwxyz"]
_TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"


def write_tiny_model(path: Path) -> None:
    """Write a model of one layer that knows bytes and letters."""
    kind = gguf.TokenType
    tokens = [b"<unk>", b"<s>", b"</s>", *_BYTES, "▁".encode(), *_LETTERS]
    special = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL]
    types = [*special, *(kind.BYTE,) * 256, *(kind.NORMAL,) * (1 + len(_LETTERS))]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(_TEMPLATE)
    random = numpy.random.default_rng(1)

    def weights(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.5, shape).astype(numpy.float32))

    def ones(name: str) -> None:
        writer.add_tensor(f"{name}.weight", numpy.ones(_EMBEDDING, numpy.float32))

    weights("token_embd", len(tokens), _EMBEDDING)
    weights("output", len(tokens), _EMBEDDING)
    ones("output_norm")
    ones("blk.0.attn_norm")
    ones("blk.0.ffn_norm")
    for name in ("q", "k", "v", "output"):
        weights(f"blk.0.attn_{name}", _EMBEDDING, _EMBEDDING)
    weights("blk.0.ffn_gate", _FEED_FORWARD, _EMBEDDING)
    weights("blk.0.ffn_up", _FEED_FORWARD, _EMBEDDING)
    weights("blk.0.ffn_down", _EMBEDDING, _FEED_FORWARD)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
