"""OpenAI's other endpoints with OpenAI's own SDK: straight at the scripted upstream, and through the gateway."""

import base64

import openai
import pytest

import gateway as gateways
from drivers import PNG

MODEL = "via-everything"
MANIFESTS = """\
---
apiVersion: routeapi.dev/v1alpha1
kind: AIProvider
metadata: {{name: everything, namespace: default}}
spec:
  type: OpenAI
  baseURL: {url}/v1
  endpoints: [ChatCompletions, Completions, Moderations, Images, Speech, Transcriptions, Rerank]
  credentials: {{apiKey: {{secretRef: {{name: upstream-key, key: apiKey}}}}}}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {{name: {model}, namespace: default}}
spec:
  model: {model}
  upstreams: [{{name: only, providerRef: {{name: everything}}, model: scripted-large}}]
"""


@pytest.fixture(scope="module")
def everything(upstream_process, tmp_path_factory):
    text = gateways.COMMON + MANIFESTS.format(url=upstream_process.url, model=MODEL)
    running = gateways.run(text, tmp_path_factory.mktemp("everything"))
    yield running
    running.stop()


@pytest.fixture(params=["straight", "gateway"])
def client(request, upstream, everything):
    url, key = (upstream.url, "any") if request.param == "straight" else (everything.url, gateways.TOKEN)
    with openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0) as client:
        yield client


def test_completions(client, upstream):
    answer = client.completions.create(model=MODEL, prompt="once upon", max_tokens=20)
    assert answer.choices[0].text == "It continues: once upon"
    truth = upstream.truth()
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (truth["input_tokens"], truth["output_tokens"])
    assert truth["model"] in (MODEL, "scripted-large")


def test_completions_streamed(client):
    options = {"include_usage": True}
    stream = client.completions.create(model=MODEL, prompt="once upon", stream=True, stream_options=options)
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "It continues: once upon"
    assert chunks[-1].usage.total_tokens == 6
    plain = list(client.completions.create(model=MODEL, prompt="once upon", stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in plain)


def test_moderations(client):
    answer = client.moderations.create(model=MODEL, input=["hello", "I kill you"])
    assert [result.flagged for result in answer.results] == [False, True]


def test_images(client):
    answer = client.images.generate(model=MODEL, prompt="a small cat", n=2)
    assert [base64.b64decode(image.b64_json) for image in answer.data] == [PNG, PNG]
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 544)


def test_images_streamed(client):
    events = list(client.images.generate(model=MODEL, prompt="a small cat", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert base64.b64decode(events[-1].b64_json) == PNG
    assert events[-1].usage.output_tokens == 272


def test_speech(client, tmp_path):
    sound = client.audio.speech.create(model=MODEL, voice="alloy", input="say this")
    assert sound.content == b"\xff\xfb\x90\x00say this"
    with client.audio.speech.with_streaming_response.create(model=MODEL, voice="alloy", input="say this") as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        answer.stream_to_file(tmp_path / "sound.mp3")
    assert (tmp_path / "sound.mp3").read_bytes() == sound.content


def test_images_from_images(client):
    named = ("cat.png", PNG, "image/png")
    edited = client.images.edit(model=MODEL, image=[named, named], prompt="more cats", n=2)
    assert [base64.b64decode(image.b64_json) for image in edited.data] == [PNG, PNG]
    events = list(client.images.edit(model=MODEL, image=named, prompt="more cats", stream=True))
    assert events[-1].type == "image_edit.completed" and events[-1].usage.output_tokens == 272
    varied = client.images.create_variation(model=MODEL, image=named)
    assert base64.b64decode(varied.data[0].b64_json) == PNG


@pytest.mark.parametrize("size", [1_000, 12 << 20], ids=["small", "large"])
def test_transcriptions(client, upstream, size):
    sound = ("grüße.wav", bytes(range(250)) * (size // 250), "audio/wav")
    heard = client.audio.transcriptions.create(model=MODEL, file=sound, language="de", temperature=0)
    assert heard.text == f"I heard {size // 250 * 250} bytes of \"grüße.wav\""
    assert heard.usage.output_tokens == 6
    assert client.audio.translations.create(model=MODEL, file=sound).text == heard.text
    assert client.audio.transcriptions.create(model=MODEL, file=sound, response_format="text") == heard.text
    events = list(client.audio.transcriptions.create(model=MODEL, file=sound, stream=True))
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == heard.text
    assert (events[-1].type, events[-1].text, events[-1].usage.output_tokens) == ("transcript.text.done", heard.text, 6)
    assert upstream.truth()["model"] in (MODEL, "scripted-large")


def test_an_error_is_the_sdks_own(client, upstream):
    upstream.script(status={"status": 429})
    with pytest.raises(openai.RateLimitError):
        client.audio.speech.create(model=MODEL, voice="alloy", input="say this")
    with pytest.raises(openai.NotFoundError):
        client.files.list()
