"""Facts are read from names and headers; what is broken, cut or hostile is refused with a sentence."""

from __future__ import annotations

import json
import struct
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_variants.headers.bounded import UnreadableModel
from model_variants.headers.gguf import read_header as read_gguf
from model_variants.headers.safetensors import read_header as read_safetensors
from model_variants.reading import read_facts
from tests.support.tiny_models import GGUF_VALUES, LLAMA_CONFIG, gguf, gguf_file, hf_folder, raw_safetensors, safetensors


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    facts = read_facts(hf_folder(tmp_path / "m"))
    assert (facts.kind, facts.architecture, facts.dtype) == ("hf", "LlamaForCausalLM", "bfloat16")
    assert (facts.layers, facts.heads, facts.kv_heads, facts.head_dim) == (2, 4, 2, 16)
    assert (facts.context_length, facts.vocabulary) == (2048, 260)
    assert (facts.weight_bytes, facts.parameters) == (64 * 64 * 2 + 32, 64 * 64 + 8)
    assert facts.path == str(tmp_path / "m") and facts.files == ("config.json", "model.safetensors")
    assert not facts.chat_template and not facts.embedding and not facts.vision


def test_the_digest_follows_the_files(tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "m")
    before = read_facts(folder).digest
    assert before and read_facts(folder).digest == before
    (folder / "generation_config.json").write_text("{}")
    assert read_facts(folder).digest != before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"dtype": None, "torch_dtype": "float16"}, {"dtype": "float16"}),
        ({"num_key_value_heads": None}, {"kv_heads": 4}),
        ({"num_key_value_heads": None, "n_head_kv": 1}, {"kv_heads": 1}),
        ({"head_dim": 128}, {"head_dim": 128}),
        ({"n_positions": 1024}, {"context_length": 1024}),
        ({"model_max_length": 8192}, {"context_length": 8192}),
        ({"quantization_config": {"quant_method": "awq"}}, {"quantization": "awq"}),
        ({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, {"kv_lora_rank": 512, "rope_head_dim": 64}),
        ({"num_hidden_layers": "many", "vocab_size": True}, {"layers": None, "vocabulary": None}),
        ({"num_hidden_layers": -3}, {"layers": None}),
        ({"vision_config": {}}, {"vision": True}),
        ({"architectures": ["BertModel"], "model_type": "bert"}, {"embedding": True}),
        ({"architectures": "LlamaForCausalLM"}, {"architecture": None}),
        ({"rope_parameters": {"rope_theta": 1.0}}, {"layers": 2}),
    ],
)
def test_spellings_of_config(tmp_path: Path, change: dict[str, object], expected: dict[str, object]) -> None:
    facts = read_facts(hf_folder(tmp_path / "m", **change))
    assert {name: getattr(facts, name) for name in expected} == expected


def test_a_multimodal_config_is_read_inside(tmp_path: Path) -> None:
    config = {"architectures": ["XForConditionalGeneration"], "model_type": "x", "vision_config": {}, "text_config": LLAMA_CONFIG}
    facts = read_facts(hf_folder(tmp_path / "m", config))
    assert (facts.layers, facts.dtype, facts.vision, facts.model_type) == (2, "bfloat16", True, "x")


@pytest.mark.parametrize(
    ("name", "content", "has"),
    [
        ("chat_template.jinja", "x", True),
        ("tokenizer_config.json", '{"chat_template": "x", "a": [1]}', True),
        ("tokenizer_config.json", '{"chat_template": null}', False),
        ("tokenizer_config.json", "{}", False),
    ],
)
def test_chat_templates(tmp_path: Path, name: str, content: str, has: bool) -> None:
    folder = hf_folder(tmp_path / "m")
    (folder / name).write_text(content)
    assert read_facts(folder).chat_template is has


def test_shards_are_added_up_and_an_index_is_believed(tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    total = sum(safetensors(folder / f"model-0000{n}-of-00003.safetensors", {f"t{n}": ("BF16", [n, 100])}) for n in (1, 2, 3))
    assert read_facts(folder).weight_bytes == total and read_facts(folder).parameters == total // 2
    index = {"metadata": {"total_size": total - 2, "total_parameters": 7}, "weight_map": {"t1": "model-00001-of-00003.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_facts(folder).weight_bytes == total - 2 and read_facts(folder).parameters == 7
    index["metadata"] = {"total_size": 2 * total + 4096}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_facts(folder).weight_bytes == total, "an index that claims more than the files hold is not believed"
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(UnreadableModel, match="2 of 3 shards"):
        read_facts(folder)


def test_a_gguf_file_and_a_folder_of_it(tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "x.gguf")
    for given_path in (path, tmp_path):
        facts = read_facts(given_path)
        assert (facts.kind, facts.architecture, facts.context_length) == ("gguf", "llama", 512)
        assert (facts.layers, facts.heads, facts.kv_heads, facts.head_dim) == (2, 4, 2, 16)
        assert (facts.weight_bytes, facts.parameters, facts.quantization) == (144 + 32, 264, "ggml-2")
        assert facts.chat_template and facts.files == ("x.gguf",) and facts.path == str(given_path)


def test_a_split_gguf_needs_all_its_parts(tmp_path: Path) -> None:
    for part in (1, 2):
        gguf_file(tmp_path / f"x-0000{part}-of-00002.gguf")
    assert read_facts(tmp_path).weight_bytes == 2 * (144 + 32)
    assert read_facts(tmp_path).files == ("x-00001-of-00002.gguf", "x-00002-of-00002.gguf")
    (tmp_path / "x-00002-of-00002.gguf").unlink()
    with pytest.raises(UnreadableModel, match=r"x-00002-of-00002[.]gguf is missing"):
        read_facts(tmp_path)


def test_kv_heads_per_layer(tmp_path: Path) -> None:
    path = gguf(tmp_path / "x.gguf", {**GGUF_VALUES, "llama.attention.head_count_kv": [1, 4, 2]}, {})
    assert read_facts(path).kv_heads == 4


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, "empty"),
        ({".cache": ""}, "empty"),
        ({"a.txt": "x", "b.md": "y"}, "text"),
        ({"a.txt": "x", "b.exe": "y"}, "unknown"),
        ({"adapter_config.json": "{}", "config.json": "{}"}, "lora"),
        ({"modules.json": "[]", "config.json": "{}", "1_Pooling/config.json": "{}"}, "sentence_transformers"),
        ({"resnet/config.pbtxt": "", "resnet/1/model.onnx": "xyz"}, "triton"),
        ({"model-definition.yaml": "models: []", "app.py": ""}, "definition"),
        ({"model-definition.yml": "models: []", "app.py": ""}, "definition"),
        ({"model-definition.yaml": "models: []", "config.json": "{}"}, "hf"),
    ],
)
def test_kinds_of_folders(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    facts = read_facts(tmp_path)
    assert facts.kind == kind
    assert (facts.definition == "models: []") is any(name.startswith("model-definition") for name in files)


def test_what_is_not_there_and_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_facts(tmp_path / "nothing")
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(UnreadableModel, match=r"no \.gguf"):
        read_facts(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("header", "length", "sentence"),
    [
        (b"{}", 2**63, "truncated"),
        (b"{}", 2**64 - 1, "truncated"),
        (b"{}", 9 * 2**20, "truncated"),
        (b"not json", None, "broken header"),
        (b'{"a": 3}', None, "broken header"),
        (b"[" * 200_000, None, "broken header"),
        (b'{"a": ' + b"[" * 200_000, None, "broken header"),
        (b'{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}', None, "broken header"),
        (b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', None, "negative"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 5000]}}', None, "truncated or corrupt"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-9, 4]}}', None, "corrupt"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 16]}, '
         b'"b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 16]}}', None, "overlap"),
        (b"\xff\xfe", None, "broken header"),
    ],
)  # fmt: skip
def test_hostile_safetensors(tmp_path: Path, header: bytes, length: int | None, sentence: str) -> None:
    raw_safetensors(tmp_path / "model.safetensors", header, 16, length=length)
    with pytest.raises(UnreadableModel, match=sentence):
        read_facts(tmp_path)


def test_a_header_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**30))
        file.truncate(2**31)
    tracemalloc.start()
    with pytest.raises(UnreadableModel, match="at most"):
        read_safetensors(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"[]", b'"x"', b'{"a": ' + b"1" * 5000 + b"}", b"\xff", b""])
def test_hostile_config(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UnreadableModel, match=r"config\.json"):
        read_facts(tmp_path)


def test_infinity_in_a_config_is_usual(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"layer_norm_eps": Infinity, "num_hidden_layers": 3}')
    assert read_facts(tmp_path).layers == 3


_START = b"GGUF" + struct.pack("<I", 3)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "too short"),
        (b"GGML" + bytes(40), "does not begin"),
        (b"GGUF" + struct.pack("<I", 9) + bytes(40), "version 9"),
        (_START + struct.pack("<QQ", 2**60, 1) + bytes(40), "claims"),
        (_START + struct.pack("<QQ", 1, 2**60) + bytes(40), "claims"),
        (_START + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**63) + bytes(40), "is cut"),
        (_START + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**62), "claims more"),
        (_START + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 4, 2**62), "is cut"),
        (_START + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 9, 1), "unknown type"),
        (_START + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 77) + bytes(8), "unknown type"),
    ],
)
def test_hostile_gguf(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(UnreadableModel, match=sentence):
        read_facts(tmp_path / "x.gguf")


def test_tensors_that_the_file_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModel, match="its tensors need"):
        read_gguf(gguf(tmp_path / "x.gguf", {}, {"w": (0, [2**40])}))
    with pytest.raises(UnreadableModel, match="unknown type"):
        read_gguf(gguf(tmp_path / "y.gguf", {}, {"w": (4, [2])}))
    with pytest.raises(UnreadableModel, match="dimensions"):
        read_gguf(gguf(tmp_path / "z.gguf", {}, {"w": (0, [1] * 9)}))


def test_a_real_sized_gguf_vocabulary_is_walked_in_time(tmp_path: Path) -> None:
    """Llama 3's: 128k tokens and 280k merges."""
    values = {**GGUF_VALUES, "tokenizer.ggml.tokens": ["token"] * 128_000, "tokenizer.ggml.merges": ["a b"] * 280_000}
    path = gguf(tmp_path / "x.gguf", values, {})
    tracemalloc.start()
    began = time.process_time()
    read_gguf(path)
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()
    assert time.process_time() - began < 2, "milliseconds without tracemalloc"


def test_a_hundred_shards_take_less_than_a_second(tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    for n in range(1, 101):
        tensors = {f"model.layers.{n}.experts.{e}.w": ("BF16", [1, 2]) for e in range(600)}
        safetensors(folder / f"model-{n:05d}-of-00100.safetensors", tensors)
    began = time.process_time()
    facts = read_facts(folder)
    spent = time.process_time() - began
    assert facts.weight_bytes == 100 * 600 * 4
    assert spent < 1, f"{spent:.2f} s"


_MUTATED = st.tuples(st.sampled_from(["model.safetensors", "x.gguf", "config.json"]), st.integers(0, 10_000), st.binary(max_size=24))


@settings(max_examples=300, deadline=None)
@given(_MUTATED)
def test_any_damage_is_a_sentence_or_facts(damage: tuple[str, int, bytes]) -> None:
    """Bytes of right files are overwritten anywhere: the reader answers or refuses, and never fails otherwise."""
    name, at, new = damage
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if name == "x.gguf":
            gguf_file(folder / name)
        else:
            hf_folder(folder)
        content = bytearray((folder / name).read_bytes())
        at %= len(content)
        content[at : at + len(new)] = new
        (folder / name).write_bytes(content)
        refusal = _refusal(lambda: read_facts(folder))
        assert refusal is None or name in refusal


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_behind_a_right_beginning(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        for name, start in (("x.gguf", _START), ("model.safetensors", struct.pack("<Q", len(content)))):
            path = Path(place) / name
            path.write_bytes(start + content)
            refusal = _refusal(lambda path=path: (read_gguf if path.suffix == ".gguf" else read_safetensors)(path))
            assert refusal is None or name in refusal


def _refusal(read: Callable[[], object]) -> str | None:
    """The sentence with which `read` refuses; None where it answers. Any other error is a failure."""
    try:
        read()
    except UnreadableModel as error:
        return str(error)
    return None
