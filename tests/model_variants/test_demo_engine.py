"""The demo engine as a process, spoken to by the official openai package, and plainly where the package hides something."""

from __future__ import annotations

import base64
import http.client
import json
import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.engines import Running, demo_engine, free_port

MESSAGES: list[Any] = [{"role": "user", "content": "What is a session?"}]
MIB = 2**20


TEXT = """\
A session is one running replica of a service on a node, under the eyes of the worker of that node.

A node is a machine that runs a worker, and a worker is the daemon that starts sessions on a node.

The scheduler says which session is placed on which node, and the router sends a request to a session that is ready.

A router is a process that knows every session, and a request waits in a router while a session starts on a node.

A service is what a user wants served, and a session of a service is stateless, so that a session may end at any time.

The worker of a node starts a session, watches a session, and stops a session when the scheduler says so, or when a node ends.
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("engine")
    (folder / "text").mkdir()
    (folder / "text" / "words.txt").write_text(TEXT)
    with demo_engine(folder, "--text", str(folder / "text")) as running:
        yield running


@pytest.fixture
def client(engine: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0, timeout=30) as found:
        yield found


def test_it_starts_fast_stays_small_and_knows_our_documentation(tmp_path: Path) -> None:
    with demo_engine(tmp_path) as engine:
        body = {"messages": MESSAGES, "max_tokens": 40, "seed": 1}
        answer = json.loads(engine.ask("POST", "/v1/chat/completions", body)[1])["choices"][0]["message"]["content"]
        assert "Stoker's own documentation" in engine.ask("GET", "/v1/models")[1].decode()
        print(f"ready after {engine.seconds:.2f} s, {engine.resident() / MIB:.0f} MiB resident, says: {answer}")
        assert engine.seconds < 5, "0.5 s on an idle machine"
        assert engine.resident() < 60 * MIB
        assert len(answer.split()) >= 5


def test_it_says_what_it_is(client: openai.OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == ["demo", "other"]
    assert models[0].owned_by == "stoker-demo"
    extra = models[0].model_dump()
    assert "statistical language model" in extra["description"] and "No neural network" in extra["description"]
    assert extra["max_model_len"] == 4096


def test_chat_generates_and_counts(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=12, seed=1)
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content and not choice.message.content.startswith(" ")
    assert choice.finish_reason == "length" and answer.model == "demo"
    assert answer.usage and answer.usage.completion_tokens == 12 and answer.usage.prompt_tokens >= 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def test_the_prompt_matters(client: openai.OpenAI) -> None:
    """A completion goes on where its prompt ends: after the beginning of a sentence of the text comes what follows there."""
    greedy = client.completions.create(model="demo", prompt="A session is one running", temperature=0, max_tokens=4).choices[0].text
    assert greedy.startswith(" replica of")
    other = client.completions.create(model="demo", prompt="The scheduler says", temperature=0, max_tokens=4).choices[0].text
    assert other != greedy


def test_the_same_seed_gives_the_same_text(client: openai.OpenAI) -> None:
    def ask(seed: int | None) -> str:
        answer = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=40, seed=seed)
        return answer.choices[0].message.content or ""

    assert ask(7) == ask(7) and len({ask(seed) for seed in (7, 8, 9, 10)}) > 1 and len({ask(None) for _ in range(5)}) > 1


def test_a_stream_is_the_whole_answer_in_pieces(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=20, seed=3)
    chunks = list(
        client.chat.completions.create(
            model="demo", messages=MESSAGES, max_tokens=20, seed=3, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(not chunk.choices[0].delta.role for chunk in chunks[1:-1])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1 and chunks[0].object == "chat.completion.chunk"


def test_a_stream_ends_with_done(engine: Running) -> None:
    body = {"model": "demo", "messages": MESSAGES, "max_tokens": 2, "stream": True}
    status, text = engine.ask("POST", "/v1/chat/completions", body)
    events = text.decode().split("\n\n")
    assert status == 200 and events[-2:] == ["data: [DONE]", ""] and len(events) == 5
    assert all(json.loads(event.removeprefix("data: ")) for event in events[:-2])


def test_n_choices_differ_and_are_reproducible(client: openai.OpenAI) -> None:
    def ask() -> list[str]:
        return [c.text for c in client.completions.create(model="demo", prompt="A node", n=4, seed=5, max_tokens=12).choices]

    first = ask()
    assert len(first) == 4 and len(set(first)) > 1 and first == ask()
    streamed = [""] * 4
    for chunk in client.completions.create(model="demo", prompt="A node", n=4, seed=5, max_tokens=12, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == first


def test_stop_strings_are_not_shown_even_across_tokens(client: openai.OpenAI) -> None:
    def ask(**more: Any) -> Any:
        return client.completions.create(model="demo", prompt="A session is", temperature=0, max_tokens=15, **more).choices[0]

    whole = ask().text
    middle = whole[9:22]
    stopped = ask(stop=["never there", middle])
    assert stopped.text == whole[: whole.index(middle)] and stopped.finish_reason == "stop"
    chunks = client.completions.create(model="demo", prompt="A session is", temperature=0, max_tokens=15, stop=middle, stream=True)
    assert "".join(c.choices[0].text for c in chunks) == stopped.text
    assert ask(stop="never there").text == whole


def test_logprobs_of_a_chat_add_up(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=6, logprobs=True, top_logprobs=5, temperature=0)
    logprobs = answer.choices[0].logprobs
    assert logprobs and logprobs.content and len(logprobs.content) == 6
    for token in logprobs.content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 5
        assert token.logprob == max(top.logprob for top in token.top_logprobs), "greedy takes the likeliest"
        assert sum(math.exp(top.logprob) for top in token.top_logprobs) <= 1 + 1e-9
        assert bytes(token.bytes or []) == token.token.encode()


def test_logprobs_and_echo_of_a_completion(client: openai.OpenAI) -> None:
    choice = client.completions.create(model="demo", prompt="A session is", max_tokens=3, logprobs=2, echo=True, seed=1).choices[0]
    assert choice.text.startswith("A session is") and choice.logprobs
    assert "".join(choice.logprobs.tokens or []) == choice.text
    assert (choice.logprobs.token_logprobs or [])[0] is None and all(p < 0 for p in (choice.logprobs.token_logprobs or [])[1:])
    assert choice.logprobs.text_offset == [0, 1, 9, 12, *(choice.logprobs.text_offset or [])[4:]]
    plain = client.completions.create(model="demo", prompt="A session is", max_tokens=0, echo=True)
    assert plain.choices[0].text == "A session is" and plain.usage and plain.usage.completion_tokens == 0


def test_prompts_may_be_many_or_token_ids(engine: Running, client: openai.OpenAI) -> None:
    several = client.completions.create(model="demo", prompt=["A node", "A session"], max_tokens=3, seed=1)
    assert [choice.index for choice in several.choices] == [0, 1]
    ids = json.loads(engine.ask("POST", "/tokenize", {"prompt": "A session, é漢!"})[1])["tokens"]
    back = client.completions.create(model="demo", prompt=ids, echo=True, max_tokens=0).choices[0].text
    assert len(ids) > 4 and back.startswith("A session,") and back.endswith("!")


def test_embeddings_are_deterministic_of_length_one_and_near_for_near_texts(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="demo", input=["a node", "a worker on a node", "bananas", "a node"])
    vectors = [one.embedding for one in answer.data]
    assert vectors[0] == vectors[3] and len(vectors[0]) == 256
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-5 for vector in vectors)
    near, far = (sum(a * b for a, b in zip(vectors[0], vector, strict=True)) for vector in vectors[1:3])
    assert near > far + 0.2
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 8
    assert len(client.embeddings.create(model="demo", input="a", dimensions=32).data[0].embedding) == 32


def test_embeddings_as_base64_are_the_same_numbers(engine: Running) -> None:
    def ask(encoding: str) -> Any:
        body = {"model": "demo", "input": "a node", "encoding_format": encoding}
        return json.loads(engine.ask("POST", "/v1/embeddings", body)[1])["data"][0]["embedding"]

    packed = base64.b64decode(ask("base64"))
    assert struct.unpack("<256f", packed) == pytest.approx(ask("float"))


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_logprobs": 99, "logprobs": True}, "top_logprobs"),
        ({"stop": [""]}, "stop"),
        ({"n": 0}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"model": 3}, "model"),
        ({"max_tokens": 4096}, "messages"),
    ],
)
def test_wrong_requests_name_the_field(engine: Running, change: dict[str, Any], param: str) -> None:
    status, text = engine.ask("POST", "/v1/chat/completions", {"model": "demo", "messages": MESSAGES, **change})
    error = json.loads(text)["error"]
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param) and error["message"]


def test_errors_become_the_packages_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="nothing"):
        client.chat.completions.create(model="nothing", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="demo", prompt="word " * 5000)
    assert long.value.code == "context_length_exceeded" and "4096" in str(long.value)
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="demo", input=[""])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_json_object(engine: Running, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=30)
    connection.request("POST", "/v1/chat/completions", body)
    response = connection.getresponse()
    assert response.status == 400 and json.loads(response.read())["error"]["message"]
    connection.close()


def test_a_huge_body_is_refused_before_it_is_read(engine: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=30)
    connection.request("POST", "/v1/completions", b" " * (17 * MIB))
    assert connection.getresponse().status == 413
    connection.close()
    assert engine.resident() < 120 * MIB


def test_metrics_bear_vllms_names(tmp_path: Path) -> None:
    with demo_engine(tmp_path) as engine:
        engine.ask("POST", "/v1/completions", {"prompt": "A session is", "max_tokens": 5, "ignore_eos": True})
        status, text = engine.ask("GET", "/metrics")
        samples = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))
        labels = '{engine="0",model_name="demo"}'
        assert status == 200 and samples[f"vllm:generation_tokens_total{labels}"] == "5"
        assert samples[f"vllm:prompt_tokens_total{labels}"] == "3"
        assert samples[f"vllm:num_requests_running{labels}"] == "0" == samples[f"vllm:num_requests_waiting{labels}"]
        assert float(samples[f"vllm:kv_cache_usage_perc{labels}"]) == 0
        assert samples['vllm:request_success_total{engine="0",model_name="demo",finished_reason="length"}'] == "1"
        assert samples[f"vllm:time_to_first_token_seconds_count{labels}"] == "1"


def test_the_key_is_asked_for_but_not_by_health(tmp_path: Path) -> None:
    with demo_engine(tmp_path, key="sk-right") as engine:
        assert engine.ask("GET", "/health")[0] == 200
        for key, expected in (("sk-right", 200), ("sk-wrong", 401), (None, 401)):
            assert engine.ask("GET", "/v1/models", key=key)[0] == expected
            assert engine.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1}, key=key)[0] == expected
        assert json.loads(engine.ask("GET", "/v1/models", key="x")[1])["error"]["code"] == "invalid_api_key"


def test_it_learns_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The quick brown fox jumps over the lazy dog.\n\n```\ncode is not learnt at all here\n```\n" * 3)
    with demo_engine(tmp_path, "--text", str(tmp_path)) as engine:
        body = {"prompt": "The quick brown", "max_tokens": 20, "temperature": 0}
        answer = json.loads(engine.ask("POST", "/v1/completions", body)[1])["choices"][0]
        assert (answer["text"], answer["finish_reason"]) == (" fox jumps over the lazy dog.", "stop")
        assert tmp_path.name in engine.ask("GET", "/v1/models")[1].decode()


def test_a_folder_without_text_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "model_variants.demo_engine", "--port", str(free_port()), "--text", str(tmp_path)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1 and "no prose to learn from" in ended.stderr and "Traceback" not in ended.stderr
