"""A FastAPI app with a model-definition.yaml as in the reference's documents (KoAlpaca), through router, scheduler and worker."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from tests.support.engine_envs import environment
from tests.support.stack import Stack, eventually, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

APP = """\
import os
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()

class Chat(BaseModel):
    prompt: str

@app.get("/health")
def health():
    return {"status": "ok"}

@app.post("/chat")
def chat(body: Chat):
    with open(os.environ["BACKEND_MODEL_PATH"] + "/words.txt") as file:
        words = file.read().split()
    return StreamingResponse((f"{body.prompt} {word}\\n" for word in words), media_type="text/plain")
"""


def definition(folder: Path, python: Path, *actions: dict[str, object]) -> Path:
    """The folder, with the app and a definition that starts it by uvicorn."""
    (folder / "KoAlpaca-5.8B").mkdir(parents=True)
    (folder / "chatbot_api.py").write_text(APP)
    command = [str(python), "-m", "uvicorn", "--app-dir", "/models", "chatbot_api:app", "--port", "{port}", "--host", "{host}"]
    service = {
        "pre_start_actions": list(actions),
        "start_command": command,
        "port": 8000,
        "health_check": {"path": "/health", "max_retries": 10},
    }
    model = {"name": "KoAlpaca-5.8B-model", "model_path": "/models/KoAlpaca-5.8B", "service": service}
    (folder / "model-definition.yaml").write_text(json.dumps({"models": [model]}))
    return folder


def _ask(stack: Stack, path: str) -> httpx2.Response:
    bearer = {"authorization": f"Bearer {stack.user_token}"}
    return httpx2.post(f"{stack.url}/services/koalpaca{path}", json={"prompt": "word"}, headers=bearer, timeout=60)


def test_an_app_with_a_definition_is_served_and_a_failing_one_says_why(tmp_path: Path) -> None:
    python = environment("transformers") / "bin" / "python"
    words = {"action": "write_file", "args": {"filename": "/models/KoAlpaca-5.8B/words.txt", "body": ["one two", "three"]}}
    good = definition(tmp_path / "koalpaca", python, words, {"action": "log", "args": {"message": "words are written"}})
    failing = {"action": "run_command", "args": {"command": ["sh", "-c", "echo no matching distribution; exit 4"]}}
    bad = definition(tmp_path / "broken", python, failing)
    with running(tmp_path / "data") as stack:
        stack.stoker("serve", str(good), "--name", "koalpaca", "--timeout", "120", "-d")
        found = stack.client.service("koalpaca")
        assert found["variant"] == "custom" and found["status"] == "HEALTHY"
        answer = _ask(stack, "/chat")
        assert answer.status_code == 200 and answer.text == "word one\nword two\nword three\n"
        assert _ask(stack, "/health").status_code == 405, "its own paths are its own"
        assert "words are written" in stack.stoker("service", "logs", "koalpaca", "--tail", "50").stdout
        refused = stack.stoker("serve", str(bad), "--name", "broken", "--timeout", "60", "-d", check=False)
        assert refused.returncode != 0 and "no matching distribution" in refused.stdout + refused.stderr
        ended = eventually(lambda: [one for one in stack.client.sessions("broken", ended=True) if one["status"] == "FAILED"])
        assert ended[0]["reason"]["code"] == "definition_failed"
