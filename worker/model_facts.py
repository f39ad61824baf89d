"""What this node knows of the models that services name: read from their files here, published with the node's record."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from worker.model_paths import is_local, model_path

log = logging.getLogger(__name__)

MOST_MODELS, MOST_ASKED = 500, 50
LOOK_AGAIN_SECONDS = 2.0
"""For models that were not there: the service waits for them. Present ones are looked at in inventory's time."""


class FactsBook:
    """`store` is the directory of model folders. Facts are kept by the files' digest and read anew only when that changes."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[str, dict[str, object]] = {}
        self._asked: dict[str, dict[str, object]] = {}
        self._asking = threading.Lock()

    @property
    def known(self) -> dict[str, dict[str, object]]:
        """By model reference: ModelFacts in JSON form, or {"missing": sentence}."""
        return self._known

    def unread(self, models: Iterable[str]) -> bool:
        """Whether one of these has not been looked for, or one that is known is not asked for any more."""
        return set(_local(models)) != self._known.keys()

    def missing(self) -> bool:
        return any("missing" in facts for facts in self._known.values())

    def read(self, models: Iterable[str], *, only_missing: bool = False) -> None:
        """Look for them, and forget the others. Slow: it reads files."""
        fresh: dict[str, dict[str, object]] = {}
        for model in _local(models):
            known = self._known.get(model)
            kept = only_missing and known is not None and "missing" not in known
            fresh[model] = known if kept and known is not None else self._look(model, known or self._asked.get(model))
        self._known = fresh

    def look(self, model: str) -> dict[str, object]:
        """Of one model, whether or not a service names it; kept for a while. Slow: it reads files. For several threads."""
        facts = self._look(model, self._known.get(model) or self._asked.get(model))
        with self._asking:
            self._asked.pop(model, None)
            self._asked[model] = facts
            for oldest in list(self._asked)[:-MOST_ASKED]:
                del self._asked[oldest]
        return facts

    def _look(self, model: str, known: dict[str, object] | None) -> dict[str, object]:
        from model_variants.headers.folder import survey
        from model_variants.reading import read_facts

        path = model_path(model, self._store)
        try:
            if known is not None and known.get("digest") == survey(path)[0]:
                return known
            facts: dict[str, object] = msgspec.to_builtins(read_facts(path))
        except FileNotFoundError:
            return {"missing": f"there is no {path}"}
        except OSError as error:
            log.warning("the model %s cannot be read: %s", path, error)
            return {"missing": f"{path} cannot be read: {error.strerror or error}"}
        return facts


def _local(models: Iterable[str]) -> list[str]:
    return sorted({model for model in models if is_local(model)})[:MOST_MODELS]
