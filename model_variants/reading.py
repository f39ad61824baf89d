"""From a model folder or file to ModelFacts, by its names and headers alone. Runs on the node that holds the files.

What a folder is, the first that fits:
1. adapter_config.json                       lora
2. modules.json                              sentence_transformers
3. config.json (or weights in safetensors)   hf
4. *.gguf                                    gguf
5. NAME/config.pbtxt                         triton
6. model-definition.yaml alone               definition (1 to 5 keep its text too)
7. nothing                                   empty
8. only .txt, .md, .rst                      text
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from model_variants.facts import ModelFacts
from model_variants.headers import gguf
from model_variants.headers.bounded import UnreadableModel, positive, read_at_most
from model_variants.headers.config import Shape, has_chat_template, read_config
from model_variants.headers.folder import names_in, survey
from model_variants.headers.safetensors import Weights, read_weights

DEFINITION_LIMIT = 256 * 1024
DEFINITIONS = ("model-definition.yaml", "model-definition.yml")
NAMES_PUBLISHED = 64
_TEXT = (".txt", ".md", ".rst")
_PICKLED = (".bin", ".pt", ".pth")


def read_facts(path: Path) -> ModelFacts:
    """Raises FileNotFoundError where there is nothing, UnreadableModel (an OSError) where the files are broken, incomplete or private."""
    try:
        return _read(path.absolute())
    except PermissionError as refused:  # transformers writes model.safetensors with mode 600
        raise UnreadableModel(f"{refused.filename} may not be read by the worker's user: chmod -R a+rX {path}") from None


def _read(path: Path) -> ModelFacts:
    if path.is_file():
        if path.suffix == ".gguf":
            return _gguf(path.parent, _split_parts(path), path)
        raise UnreadableModel(f"{path} is a file, but no .gguf; a model is a folder or a .gguf file")
    names = names_in(path)
    facts = _folder(path, names)
    digest, total = survey(path)
    return msgspec.structs.replace(
        facts,
        path=str(path),
        digest=digest,
        weight_bytes=total if facts.kind in ("triton", "definition") else facts.weight_bytes,
        definition=_definition(path, names),
        files=facts.files or tuple(names[:NAMES_PUBLISHED]),
    )


def _folder(path: Path, names: list[str]) -> ModelFacts:
    if "adapter_config.json" in names:
        return ModelFacts(kind="lora")
    if "modules.json" in names:
        return _hugging_face(path, names, "sentence_transformers")
    if "config.json" in names or any(name.endswith(".safetensors") for name in names):
        return _hugging_face(path, names, "hf")
    models = [name for name in names if name.endswith(".gguf") and "mmproj" not in name.lower()]
    if models:
        return _gguf(path, _split_parts(path / models[0]), path)
    if any((path / name / "config.pbtxt").is_file() for name in names[:256]):
        return ModelFacts(kind="triton")
    if any(name in names for name in DEFINITIONS):
        return ModelFacts(kind="definition")
    if not names:
        return ModelFacts(kind="empty")
    text = all(name.lower().endswith(_TEXT) and (path / name).is_file() for name in names)
    return ModelFacts(kind="text" if text else "unknown")


def _hugging_face(path: Path, names: list[str], kind: str) -> ModelFacts:
    shape = read_config(path / "config.json") if "config.json" in names else Shape()
    weights = read_weights(path, names)
    if not weights.bytes:
        weights = Weights(sum((path / name).stat().st_size for name in names if name.endswith(_PICKLED)))
    known: dict[str, Any] = msgspec.structs.asdict(shape)
    known["dtype"] = shape.dtype or weights.dtype
    known["embedding"] = shape.embedding or kind == "sentence_transformers"
    return ModelFacts(
        kind=kind, parameters=weights.parameters, weight_bytes=weights.bytes, chat_template=has_chat_template(path, names), **known
    )


def _split_parts(first: Path) -> list[str]:
    """The names of a split model's parts (`x-00001-of-00003.gguf`), or the one file's. Raises for missing parts."""
    stem, _, count = first.stem.rpartition("-of-")
    if not (count.isdigit() and len(count) == 5 and stem[-5:].isdigit()):
        return [first.name]
    if int(count) > 1000:
        raise UnreadableModel(f"{first.name} would have {int(count)} parts")
    names = [f"{stem[:-5]}{number:05d}-of-{count}.gguf" for number in range(1, int(count) + 1)]
    missing = [name for name in names if not (first.parent / name).is_file()]
    if missing:
        raise UnreadableModel(f"{missing[0]} is missing ({len(missing)} of {len(names)} parts); the download is incomplete")
    return names


def _gguf(folder: Path, parts: list[str], shown: Path) -> ModelFacts:
    headers = [gguf.read_header(folder / name) for name in parts]
    values = headers[0].values
    kind = values.get("general.architecture")
    kind = kind[:100] if isinstance(kind, str) else "unknown"
    heads = positive(values.get(f"{kind}.attention.head_count"))
    embedding = positive(values.get(f"{kind}.embedding_length"))
    biggest: dict[int, int] = {}
    for header in headers:
        for number, size in header.types.items():
            biggest[number] = biggest.get(number, 0) + size
    return ModelFacts(
        kind="gguf",
        path=str(shown),
        digest=survey(shown)[0],
        files=tuple(parts[:NAMES_PUBLISHED]),
        architecture=kind,
        model_type=kind,
        parameters=sum(header.parameters for header in headers) or None,
        weight_bytes=sum(header.weight_bytes for header in headers),
        quantization=f"ggml-{max(biggest, key=lambda n: biggest[n])}" if biggest else None,
        context_length=positive(values.get(f"{kind}.context_length")),
        layers=positive(values.get(f"{kind}.block_count")),
        heads=heads,
        kv_heads=_most(values.get(f"{kind}.attention.head_count_kv")) or heads,
        head_dim=positive(values.get(f"{kind}.attention.key_length")) or (embedding // heads if embedding and heads else None),
        vocabulary=positive(values.get(f"{kind}.vocab_size")),
        embedding=kind.endswith("bert") or values.get(f"{kind}.pooling_type") in (1, 2, 3),
        chat_template="tokenizer.chat_template" in values,
    )


def _most(value: object) -> int | None:
    """KV heads may be given per layer; the largest is the safe one."""
    return max((n for n in map(positive, value) if n), default=None) if isinstance(value, list) else positive(value)


def _definition(path: Path, names: list[str]) -> str | None:
    name = next((name for name in DEFINITIONS if name in names), None)
    return read_at_most(path / name, DEFINITION_LIMIT).decode(errors="replace") if name else None
