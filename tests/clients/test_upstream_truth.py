"""The scripted upstream is what it claims to be: the official SDKs, straight against it, find nothing amiss."""

import httpx2
import pytest

import drivers
from drivers import DRIVERS, PNG, TIME, WEATHER

KEY = "any"


def having(method):
    return pytest.mark.parametrize("driver", [d for d in DRIVERS if hasattr(DRIVERS[d], method)], indirect=True)


@pytest.fixture(params=DRIVERS)
def driver(request, upstream, connect):
    return connect(request.param, upstream.url, KEY, "scripted-large")


def usage_is_true(upstream, answer):
    truth = upstream.truth()
    assert (answer.input_tokens, answer.output_tokens) == (truth["input_tokens"], truth["output_tokens"])
    assert truth["outcome"] == "completed" and truth["delivered_tokens"] == truth["output_tokens"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_text(driver, upstream, stream):
    driver.user("Grüße, 世界 and all")
    answer = driver.send(stream=stream, system="Be brief.")
    assert answer.text == "You said: Grüße, 世界 and all"
    assert (answer.finish, answer.calls) == ("stop", [])
    assert answer.pieces >= 5 if stream else answer.pieces == 0
    usage_is_true(upstream, answer)
    assert upstream.truth()["streamed"] is stream


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("parallel", [False, True], ids=["one", "parallel"])
def test_tool_round_trip(driver, upstream, stream, parallel):
    upstream.script(parallel_tools=parallel)
    driver.user("What is the weather?")
    asked = driver.send(stream=stream, tools=[WEATHER, TIME])
    assert asked.finish == "tools"
    usage_is_true(upstream, asked)
    names = ["get_weather", "get_time"] if parallel else ["get_weather"]
    assert [call.name for call in asked.calls] == names
    assert asked.calls[0].arguments == {"city": "city №0", "days": 0, "metric": False}
    driver.results(asked, ["sunny", "noon"][: len(names)])
    answer = driver.send(stream=stream, tools=[WEATHER, TIME])
    assert answer.text == "The tool said: " + " | ".join(["sunny", "noon"][: len(names)])
    assert answer.finish == "stop"


def test_image(driver):
    driver.user("What is this?", images=[("image/png", PNG)])
    assert driver.send().text == f"I see image/png of {len(PNG)} bytes. You said: What is this?"


def test_output_limit(driver, upstream):
    driver.user("a b c d e f")
    answer = driver.send(max_tokens=3)
    assert (answer.text.split(), answer.finish) == (["You", "said:", "a"], "length")
    usage_is_true(upstream, answer)


@pytest.mark.parametrize("driver", [d for d in DRIVERS if d != "openai-responses"], indirect=True)
def test_stop_sequence(driver, upstream):
    upstream.script(text="one two END three")
    driver.user("go")
    for stream in (False, True):
        answer = driver.send(stop=["END"], stream=stream)
        assert (answer.text, answer.finish) == ("one two ", "stop")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
def test_error_status(driver, upstream, status, stream):
    upstream.fail(status, headers={"retry-after": "1"})
    driver.user("x")
    with pytest.raises(drivers.refusal(driver, status)) as raised:
        driver.send(stream=stream)
    assert drivers.status_of(raised.value) == status


def test_illegal_request_is_refused(driver, upstream):
    """An answer without its question: each vendor refuses a tool result that nothing asked for."""
    driver.user("x")
    asked = driver.send(tools=[WEATHER])
    driver.results(asked, ["sunny"])
    driver.history[-2:-1] = []
    with pytest.raises(drivers.refusal(driver, 400)) as raised:
        driver.send(tools=[WEATHER])
    assert drivers.status_of(raised.value) == 400
    assert upstream.truth()["outcome"] == "refused"


def test_error_in_mid_stream(driver, upstream):
    upstream.script(error_after=2)
    driver.user("one two three")
    with pytest.raises(Exception) as raised:
        driver.send(stream=True)
    expected = {
        "openai-chat": drivers.openai.APIError,
        # The SDK's helper reports that the stream ended without `completed`.
        "openai-responses": RuntimeError,
        "anthropic": drivers.anthropic.APIStatusError,
        "gemini": drivers.errors.APIError,
    }
    assert isinstance(raised.value, expected[driver.name]), repr(raised.value)
    truth = upstream.truth()
    assert (truth["outcome"], truth["delivered_contents"]) == ("failed", 2)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_cut_stream(driver, upstream, how):
    upstream.script(cut={"at": {"inside_event": 4}, "how": how})
    driver.user("one two three four five six seven")
    with pytest.raises(Exception) as raised:
        driver.send(stream=True)
    known = (httpx2.HTTPError, drivers.openai.APIConnectionError, drivers.anthropic.APIConnectionError)
    assert isinstance(raised.value, known), repr(raised.value)
    assert upstream.truth()["outcome"] == "failed"


def test_compressed(driver, upstream):
    upstream.script(gzip=True)
    driver.user("packed")
    for stream in (False, True):
        assert driver.send(stream=stream).text == "You said: packed"


def test_heartbeats_are_ignored(driver, upstream):
    upstream.script(heartbeats=3)
    driver.user("alive")
    assert driver.send(stream=True).text == "You said: alive"


@having("models")
def test_models(driver, upstream):
    assert driver.models() == ["scripted-large", "scripted-small"]


@having("count")
def test_count_tokens(driver, upstream):
    assert driver.count("four words are here") == 4 == upstream.truth()["input_tokens"]


@having("embed")
def test_embeddings(driver, upstream):
    vectors, tokens = driver.embed(["first text", "second"])
    assert len(vectors) == 2 and len(vectors[0]) == 8 and vectors[0] != vectors[1]
    assert upstream.truth()["input_tokens"] == 3 and tokens in (3, None)
    again, _ = driver.embed(["first text"])
    assert again[0] == vectors[0]


def test_key_is_asked_for(connect):
    """A server with a key refuses others in each dialect's own words."""
    import processes

    process = processes.Process([processes.built("scripted-upstream", "SCRIPTED_UPSTREAM_BIN"), "--until-eof", "--key", "right"])
    try:
        for name in DRIVERS:
            for key, works in (("right", True), ("wrong", False)):
                driver = connect(name, process.url, key, "scripted-large")
                driver.user("x")
                if works:
                    assert driver.send().finish == "stop"
                else:
                    with pytest.raises(drivers.refusal(driver, 401)):
                        driver.send()
    finally:
        process.stop()
