"""Start: fail or wait if told to, learn, listen."""

from __future__ import annotations

import sys
import time

import uvicorn

from model_variants.demo_engine.app import create_app
from model_variants.demo_engine.engine import Engine
from model_variants.demo_engine.model import LanguageModel
from model_variants.demo_engine.settings import parse
from model_variants.demo_engine.text import NoText, read_paragraphs


def main(words: list[str]) -> int:
    """The exit code. SIGTERM stops accepting, finishes the running answers and ends."""
    settings = parse(words)
    if settings.fail_start is not None:
        _say(f"this start was asked to fail (fail_start {settings.fail_start})")
        return settings.fail_start
    time.sleep(settings.start_delay)
    began = time.perf_counter()
    try:
        paragraphs, origin = read_paragraphs(settings.text)
    except (NoText, OSError) as error:
        _say(f"demo engine: {error}")
        return 1
    model = LanguageModel(paragraphs)
    seconds = time.perf_counter() - began
    _say(f"demo engine: learnt {model.size} tokens of {origin} in {seconds:.2f} s")
    engine = Engine(settings, model, origin)
    config = uvicorn.Config(
        create_app(engine), host=settings.host, port=settings.port, access_log=False, log_level="info", timeout_keep_alive=120, ws="none"
    )
    uvicorn.Server(config).run()
    return 0


def _say(sentence: str) -> None:
    """Into the session's log."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()
