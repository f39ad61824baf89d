#!/usr/bin/env python3
"""Write docs/variants/*.md, a page per variant, from the variants themselves. `--check` only says whether they are up to date."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from model_variants.base import Launch, LaunchPlan, Site, Unsuitable, Variant
from model_variants.drafting import seen_path
from model_variants.facts import BUILTIN, ModelFacts
from model_variants.registry import load_variants
from stoker.records import DeviceShare, Engine, Gpu, Resolution
from stoker.resources import format_size
from stoker.specs import ServiceSpec

TARGET = Path(__file__).resolve().parent.parent / "docs" / "variants"
GIB = 2**30
DEFINITION = "models: [{name: mine, model_path: /models, service: {start_command: [python, serve.py, --port, '{port}'], port: 8000}}]"

# One model of each kind, the first that a variant accepts is its example.
MODELS: dict[str, ModelFacts] = {
    "`demo`, the built-in text": BUILTIN,
    "a folder of plain text": ModelFacts(kind="text", path="/models/notes", files=("notes.txt",)),
    "a Hugging Face text model": ModelFacts(
        kind="hf", path="/models/llama", architecture="LlamaForCausalLM", weight_bytes=16_060_522_496, dtype="bfloat16",
        context_length=8192, layers=32, heads=32, kv_heads=8, head_dim=128,
    ),
    "a sentence-transformers model": ModelFacts(
        kind="sentence_transformers", path="/models/minilm", architecture="BertModel", weight_bytes=90 * 2**20, context_length=512,
        layers=6, heads=12, kv_heads=12, head_dim=32, embedding=True,
    ),
    "a GGUF file": ModelFacts(
        kind="gguf", path="/models/x.gguf", architecture="llama", weight_bytes=4 * GIB, context_length=8192, layers=32, heads=32,
        kv_heads=8, head_dim=128, files=("x.gguf",),
    ),
    "a Triton repository": ModelFacts(kind="triton", path="/models/repository", weight_bytes=GIB, files=("resnet",)),
    "a folder with a model-definition.yaml": ModelFacts(kind="definition", path="/models/mine", definition=DEFINITION),
    "an empty folder": ModelFacts(kind="empty", path="/models/cache"),
}  # fmt: skip
NEEDED: dict[str, dict[str, Any]] = {
    "command": {"command": ["python", "serve.py", "--port", "{port}"]},
    "nim": {"image": "nvcr.io/nim/meta/llama-3.1-8b-instruct:2.0.8", "env": {"NGC_API_KEY": {"secret": "ngc"}}},
}
"""What a spec must say besides the variant's name."""


def main() -> None:
    """Write the pages, or compare them."""
    found = pages()
    if "--check" in sys.argv[1:]:
        stale = [name for name, text in found.items() if not (TARGET / name).exists() or (TARGET / name).read_text() != text]
        sys.exit(f"docs/variants is out of date ({', '.join(stale)}); run scripts/variants_doc.py" if stale else 0)
    TARGET.mkdir(exist_ok=True)
    for name, text in found.items():
        (TARGET / name).write_text(text)


def pages() -> dict[str, str]:
    """File name to text: README.md, and NAME.md for every built-in variant."""
    variants = load_variants([])
    return {"README.md": overview(variants.values())} | {f"{name}.md": page(variant) for name, variant in variants.items()}


def overview(variants: Any) -> str:
    """The table of all variants."""
    lines = [
        "# Model variants",
        "",
        "Written by `scripts/variants_doc.py` from the variants; change those, then run it again.",
        "",
        "A variant turns a model folder and a few values into a start command. `variant: auto`, the default, picks one from the files;",
        "`stoker service explain NAME` says why, and what else would have worked. [Write your own](../write-a-variant.md).",
        "",
        "| variant | for | on a CPU | as a process | container |",
        "|---|---|---|---|---|",
    ]
    for variant in variants:
        process = "always" if variant.engine is None else f"with `{variant.engine}` installed"
        if variant.name == "nim":
            process = "no"
        image = f"`{variant.image}`" if variant.image else "with `image:`"
        cpu = "no" if variant.needs_gpu else "yes"
        lines.append(f"| [{variant.name}]({variant.name}.md) | {variant.title} | {cpu} | {process} | {image} |")
    return "\n".join(lines) + "\n"


def page(variant: Variant) -> str:
    """All that is to be said of one variant."""
    module = inspect.getmodule(type(variant))
    about = inspect.getdoc(module) or ""
    sections = [
        f"# {variant.title}: `variant: {variant.name}`",
        f"Written by `scripts/variants_doc.py` from `{module.__name__.replace('.', '/') if module else ''}.py`.",
        about,
        inspect.getdoc(type(variant)) or "",
        "\n".join(facts_of(variant)),
        "## Models",
        "\n".join(models(variant)),
        "## Options",
        options(variant),
        *examples(variant),
    ]
    cannot: tuple[str, ...] = getattr(variant, "cannot", ())
    if cannot:
        sections += ["## What it cannot do", "\n".join(f"- {sentence}" for sentence in cannot)]
    return "\n\n".join(section for section in sections if section) + "\n"


def facts_of(variant: Variant) -> Iterator[str]:
    """Engine, image, devices and other names, as a list."""
    if variant.aliases:
        yield f"- Also: {', '.join(f'`{alias}`' for alias in variant.aliases)}."
    yield f"- Devices: {'GPUs only' if variant.needs_gpu else 'CPU or GPU'}."
    if variant.engine:
        install = getattr(variant, "install", None)
        yield f"- Engine for processes: `{variant.engine}`" + (f", installed with `pip install {install}`." if install else ".")
    else:
        yield "- Engine for processes: none has to be installed."
    yield f"- Image for containers: `{variant.image}`." if variant.image else "- Image for containers: none by default; give `image:`."


def models(variant: Variant) -> Iterator[str]:
    """What it serves, and for the rest why not."""
    said: dict[str | None, list[str]] = {}
    for what, facts in MODELS.items():
        said.setdefault(variant.accepts(facts), []).append(what)
    yield f"- Serves {', '.join(said.pop(None, []))}."
    for refusal, kinds in said.items():
        yield f"- Not {', '.join(kinds)}: {refusal}."


def options(variant: Variant) -> str:
    """The schema of `options:` as a table."""
    fields = variant.options.model_fields
    if not fields:
        return "None."
    lines = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        value = str(field.default)
        default = "" if value in ("None", "()") else f"`{value.lower() if value in ('True', 'False') else value}`"
        lines.append(f"| `{name}` | {_type(field.annotation)} | {default} | {(field.description or '').replace('|', '/')} |")
    return "\n".join(lines)


def _type(kind: Any) -> str:
    words = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    if kind in words:
        return words[kind]
    if get_origin(kind) is Annotated:
        return _type(get_args(kind)[0])
    if "tuple" in str(kind):
        return "list of text"
    known = [_type(part) for part in get_args(kind) if part is not type(None)]
    return " or ".join(dict.fromkeys(known)) if known else f"`{kind}`"


def examples(variant: Variant) -> Iterator[str]:
    """The commands of a process and of a container, then how it is probed and stopped."""
    shown = None
    for runtime in ("process", "docker"):
        found = example(variant, runtime)
        if found is not None:
            what, resolution, plan = shown = found
            yield f"## As a {'process' if runtime == 'process' else 'container'}"
            yield f"With {what}:" + (f" image `{resolution.image}`" if resolution.image else "")
            yield "```\n" + (command(plan) or "(the image's own command)") + "\n```"
    if shown is not None:
        yield "## How it is probed and stopped"
        yield "\n".join(probing(variant, *shown[1:]))


def example(variant: Variant, runtime: str) -> tuple[str, Resolution, LaunchPlan] | None:
    """With the first model that it accepts, on a site that has everything; None where it cannot run so."""
    gpus = tuple(Gpu(id=f"gpu{number}", model="H100", vendor="nvidia", memory=80 * GIB) for number in range(8))
    engines = (Engine(name=variant.engine, version="1000", prefix=f"/engines/{variant.engine}"),) if variant.engine else ()
    site = Site(runtimes=frozenset({"process", "docker"}), engines=engines, gpus=gpus)
    for what, facts in MODELS.items():
        if variant.accepts(facts) is not None:
            continue
        fields: dict[str, Any] = {"name": "chat", "model": facts.path or "demo", "variant": variant.name, "runtime": runtime}
        fields |= NEEDED.get(variant.name, {})
        if runtime == "docker" and not variant.image:
            fields["image"] = "registry.example.org/mine:1"
        if runtime == "process":
            fields.pop("image", None)
        spec = ServiceSpec.from_json(fields)
        try:
            resolution = variant.resolve(spec, facts, site)
        except Unsuitable:
            continue
        return what, resolution, variant.launch(_launch(spec, facts, resolution))
    return None


def _launch(spec: ServiceSpec, facts: ModelFacts, resolution: Resolution) -> Launch:
    return Launch(
        spec=spec,
        resolution=resolution,
        session="chat-abcde",
        host="127.0.0.1" if resolution.runtime == "process" else "0.0.0.0",
        port=resolution.port or 31000,
        model_path=seen_path(facts, resolution.runtime),
        work_dir="/var/lib/stoker/session",
        engine_prefix=f"/engines/{(resolution.engine or '').partition('==')[0]}" if resolution.engine else None,
        gpus=tuple(DeviceShare(f"gpu{number}", resolution.gpu_share, resolution.gpu_memory) for number in range(resolution.gpus)),
        session_key="(its key)" if resolution.takes_key else None,
    )


def command(plan: LaunchPlan) -> str:
    """Environment and argv as one would type them."""
    words = [f"{name}={shlex.quote(value)}" for name, value in sorted(plan.env.items())]
    argv = [sys.executable.rpartition("/")[2] if word == sys.executable else word for word in plan.argv]
    return " ".join([*words, shlex.join(["python" if word.startswith("python") and word == argv[0] else word for word in argv])])


def probing(variant: Variant, resolution: Resolution, plan: LaunchPlan) -> Iterator[str]:
    """Readiness, liveness, metrics, stopping, names, in sentences."""
    health = plan.health
    if health.enable and health.path:
        yield f"- Ready when `GET {health.path}` answers {health.expected_status_code}, within {health.start_timeout / 60:g} minutes."
    else:
        yield "- Ready when it accepts connections; there is no health check unless the spec gives one."
    if plan.loading_status:
        yield f"- While it loads, that path answers {plan.loading_status}."
    if plan.first_answer:
        yield f"- Then it must answer `POST {plan.first_answer.path}` once, before anybody else may ask."
    yield f"- Metrics: `{plan.metrics_path}`{_gauges(variant)}." if plan.metrics_path else "- Metrics: none."
    times = f"{len(plan.stop_signals)} times SIGTERM" if len(plan.stop_signals) > 1 else "SIGTERM"
    codes = ", ".join(map(str, plan.clean_exits))
    yield f"- Stopped with {times}, each followed by {plan.stop_grace:g} s at most, then SIGKILL; exits {codes} are then in order."
    yield "- An exit that nobody asked for is a failure, whatever its code."
    if resolution.upstream_model:
        yield f"- Requests reach it with `model` rewritten to `{resolution.upstream_model}`."
    if resolution.takes_key:
        yield "- It asks for a key that only the router knows."
    yield f"- At most {resolution.max_concurrency} requests at once in one session unless `routing.max_concurrency` says otherwise."
    if resolution.refused_paths:
        yield f"- Refused from outside: {', '.join(f'`{path}`' for path in resolution.refused_paths)}; `routing.allow_paths` opens them."
    if resolution.memory_terms:
        terms = ", ".join(f"{term} {format_size(size)}" for term, size in resolution.memory_terms)
        yield f"- Memory per GPU of the example: {terms}."


def _gauges(variant: Variant) -> str:
    gauges = getattr(variant, "gauges", None)
    if gauges is None:
        return ""
    named = {"running": gauges.running, "waiting": gauges.waiting, "cache use": gauges.cache}
    return "; " + ", ".join(f"{what} `{name}`" for what, name in named.items() if name)


if __name__ == "__main__":
    main()
