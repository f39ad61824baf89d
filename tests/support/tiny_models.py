"""Model files made by hand, a few kilobytes each: safetensors and GGUF by their layout, Hugging Face folders by torch."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

_DTYPE_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "U8": 1}


def safetensors(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> int:
    """A file of zeros with a right header; the bytes of its weights."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = _DTYPE_BYTES[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw_safetensors(path, json.dumps(header).encode(), at)
    return at


def raw_safetensors(path: Path, header: bytes, data: int, *, length: int | None = None) -> None:
    """Any header, with the truth or a lie about its length."""
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + bytes(data))


LLAMA_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "vocab_size": 260,
}


def hf_folder(path: Path, config: dict[str, Any] | None = None, **more: Any) -> Path:
    """A Hugging Face folder that nothing could load, but whose facts are right."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps({**(LLAMA_CONFIG if config is None else config), **more}))
    safetensors(path / "model.safetensors", {"a": ("BF16", [64, 64]), "b": ("F32", [8])})
    return path


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf(path: Path, values: dict[str, Any], tensors: dict[str, tuple[int, list[int]]], *, data: int = 0, version: int = 3) -> Path:
    """Values are text, int (u32), bool, list of int (array of i32) or list of text; tensors are (ggml type, shape)."""
    body = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    for key, value in values.items():
        body += text(key) + _gguf_value(value)
    for name, (kind, shape) in tensors.items():
        body += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, 0)
    path.write_bytes(body + bytes(data))
    return path


def _gguf_value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if all(isinstance(one, int) for one in value):
        return struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)
    return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(one) for one in value)


GGUF_VALUES = {
    "general.architecture": "llama",
    "llama.context_length": 512,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["<unk>", "a", "b"],
    "tokenizer.chat_template": "{{ messages }}",
}


def gguf_file(path: Path) -> Path:
    """Two tensors: 256 weights of Q4_0 (18 bytes per 32) and 8 of F32."""
    return gguf(path, GGUF_VALUES, {"w": (2, [32, 8]), "n": (0, [8])}, data=144 + 32)


_MAKE_LLAMA = """
import sys, torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
out, specials = sys.argv[1], ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
vocabulary = {word: at for at, word in enumerate(specials + sorted(pre_tokenizers.ByteLevel.alphabet()))}
tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer.add_special_tokens(specials)
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=specials[0], eos_token=specials[2], pad_token=specials[3],
                               model_max_length=2048, clean_up_tokenization_spaces=False)
fast.chat_template = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\\n{{ m['content'] }}<|im_end|>\\n{% endfor %}"
                      "{% if add_generation_prompt %}<|im_start|>assistant\\n{% endif %}")
torch.manual_seed(0)
config = LlamaConfig(vocab_size=len(fast), hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=16, max_position_embeddings=2048, bos_token_id=0, eos_token_id=2, pad_token_id=3)
model = LlamaForCausalLM(config).to(torch.bfloat16)
model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=2, pad_token_id=3)
model.save_pretrained(out)
fast.save_pretrained(out)
"""


def real_llama(folder: Path, python: Path) -> Path:
    """A tiny randomly initialised Llama that engines load; `python` is of an environment with torch and transformers."""
    subprocess.run([str(python), "-c", _MAKE_LLAMA, str(folder)], check=True, capture_output=True, timeout=300)
    return folder
