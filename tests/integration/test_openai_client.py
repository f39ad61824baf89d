"""The official openai package against a served model: what a user's program does."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.support.stack import Stack


@pytest.fixture
def client(demo: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key=demo.user_token, max_retries=0, timeout=30) as found:
        yield found


def test_models_are_listed_with_what_they_are(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "demo" and model.object == "model"
    extra = model.model_dump()["stoker"]
    assert extra["service"] == "demo" and extra["status"] == "HEALTHY" and extra["variant"] == "demo"
    assert client.models.retrieve("demo").id == "demo"


def test_chat_answers_and_counts_tokens(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "What is a session?"}], max_tokens=12, seed=1
    )
    assert answer.choices[0].message.content and answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage and 0 < answer.usage.completion_tokens <= 12 and answer.usage.prompt_tokens > 0


def test_chat_streams_the_same_text_for_the_same_seed(client: openai.OpenAI) -> None:
    def ask() -> str:
        parts, usage = [], None
        stream = client.chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": "the router"}],
            max_tokens=20,
            seed=7,
            stream=True,
            stream_options={"include_usage": True},
        )
        for chunk in stream:
            usage = chunk.usage or usage
            parts += [choice.delta.content or "" for choice in chunk.choices]
        assert usage and usage.completion_tokens > 0
        return "".join(parts)

    first = ask()
    assert first and first == ask()


def test_completions_and_embeddings(client: openai.OpenAI) -> None:
    completion = client.completions.create(model="demo", prompt="A session is", max_tokens=8, n=2, seed=3)
    assert len(completion.choices) == 2 and all(choice.text for choice in completion.choices)
    vectors = client.embeddings.create(model="demo", input=["a node", "a worker on a node", "bananas"]).data
    near, far = (sum(a * b for a, b in zip(vectors[0].embedding, v.embedding, strict=True)) for v in vectors[1:])
    assert near > far


def test_paths_of_the_service_work_too(demo: Stack) -> None:
    with openai.OpenAI(base_url=f"{demo.url}/services/demo/v1", api_key=demo.user_token, max_retries=0) as client:
        assert client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "hi"}], max_tokens=3).choices


def test_errors_become_the_packages_exceptions(demo: Stack, client: openai.OpenAI) -> None:
    message = [{"role": "user", "content": "hi"}]
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nothing", messages=message)  # type: ignore[arg-type]
    assert missing.value.code == "model_not_found" and "demo" in str(missing.value)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="demo", messages=message, max_tokens=-5)  # type: ignore[arg-type]
    with (
        openai.OpenAI(base_url=f"{demo.url}/v1", api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.models.list()
    assert refused.value.code == "invalid_api_key"
