"""A tiny Llama with random weights as a GGUF file that llama.cpp loads: bytes for a vocabulary, a chat template, always the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

_MAKE = """
import sys
import gguf, numpy
layers, size, heads, kv_heads, context = 2, 64, 4, 2, 512
kind, random = gguf.TokenType, numpy.random.default_rng(0)
rows = [("<unk>", 0.0, kind.UNKNOWN), ("<s>", 0.0, kind.CONTROL), ("</s>", 0.0, kind.CONTROL)]
rows += [(f"<0x{byte:02X}>", 0.0, kind.BYTE) for byte in range(256)]
rows += [(mark, -1.0 - at, kind.NORMAL) for at, mark in enumerate(["\\u2581", *map(chr, range(33, 127))])]
words, scores, kinds = zip(*rows)
out = gguf.GGUFWriter(sys.argv[1], "llama")
out.add_file_type(gguf.LlamaFileType.ALL_F32)
out.add_context_length(context); out.add_embedding_length(size); out.add_block_count(layers); out.add_feed_forward_length(3 * size)
out.add_head_count(heads); out.add_head_count_kv(kv_heads); out.add_rope_dimension_count(size // heads)
out.add_layer_norm_rms_eps(1e-5); out.add_vocab_size(len(words))
out.add_tokenizer_model("llama"); out.add_tokenizer_pre("default")
out.add_token_list(list(words)); out.add_token_scores(list(scores)); out.add_token_types([int(one) for one in kinds])
out.add_unk_token_id(0); out.add_bos_token_id(1); out.add_eos_token_id(2); out.add_add_bos_token(True)
out.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\\n{% endfor %}assistant: ")
def weights(name, *shape):
    values = numpy.ones(shape) if len(shape) == 1 else random.standard_normal(shape) / numpy.sqrt(shape[-1])
    out.add_tensor(name, values.astype(numpy.float32))
weights("token_embd.weight", len(words), size)
for at in range(layers):
    block = f"blk.{at}."
    for name, *shape in (("attn_norm", size), ("attn_q", size, size), ("attn_k", 32, size), ("attn_v", 32, size),
                         ("attn_output", size, size), ("ffn_norm", size), ("ffn_gate", 3 * size, size), ("ffn_up", 3 * size, size),
                         ("ffn_down", size, 3 * size)):
        weights(f"{block}{name}.weight", *shape)
weights("output_norm.weight", size)
weights("output.weight", len(words), size)
out.write_header_to_file(); out.write_kv_data_to_file(); out.write_tensors_to_file(); out.close()
"""


def real_gguf(path: Path, python: Path) -> Path:
    """`python` is of an environment with gguf and numpy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(python), "-c", _MAKE, str(path)], check=True, capture_output=True, timeout=120)
    return path
