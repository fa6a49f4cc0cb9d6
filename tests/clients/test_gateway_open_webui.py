"""Open WebUI's backend in front of the gateway, set up as docs/clients.md says.

Environment: OPEN_WEBUI_BIN, the folder of its program. Without it it is not tested; under CI=true that is an error.
"""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

import gateway as gateways

# It takes its time to start.
pytestmark = pytest.mark.timeout(200)


class OpenWebUI:
    def __init__(self, root, directory):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.log, self.token = f"http://127.0.0.1:{port}", directory / "log", ""
        settings = {
            "OPENAI_API_BASE_URL": f"{root}/v1",
            "OPENAI_API_KEY": gateways.TOKEN,
            "ENABLE_OLLAMA_API": "false",
            "RAG_EMBEDDING_ENGINE": "openai",
            "RAG_EMBEDDING_MODEL": gateways.MODELS["openai"],
            # For the test alone: nobody signs up, and nothing is fetched from the internet.
            "WEBUI_AUTH": "false",
            "WEBUI_SECRET_KEY": "of-the-test",
            "OFFLINE_MODE": "true",
            "HF_HUB_OFFLINE": "1",
            "DATA_DIR": str(directory),
        }
        program = pathlib.Path(os.environ["OPEN_WEBUI_BIN"]) / "open-webui"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [program, "serve", "--host", "127.0.0.1", "--port", str(port)],
                env={"HOME": str(directory), "PATH": os.environ["PATH"], **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def started(self, limit=100):
        deadline = time.monotonic() + limit
        while True:
            try:
                self.call("/health")
                break
            except (urllib.error.URLError, ConnectionError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self.log.read_text()[-3000:]) from None
                time.sleep(0.1)
        self.token = json.loads(self.call("/api/v1/auths/signin", {"email": "", "password": ""}))["token"]

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=30) as answer:
            return answer.read().decode()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def webui(gateway, tmp_path_factory):
    running = OpenWebUI(gateway.url, tmp_path_factory.mktemp("open-webui"))
    try:
        running.started()
        yield running
    finally:
        running.stop()


def test_it_lists_the_models_of_its_key(webui):
    listed = json.loads(webui.call("/api/models"))["data"]
    assert set(gateways.MODELS.values()) <= {model["id"] for model in listed}


@pytest.mark.parametrize("behind", gateways.MODELS)
def test_a_chat_is_streamed(webui, upstream, behind):
    chat = {
        "model": gateways.MODELS[behind],
        "stream": True,
        "messages": [{"role": "user", "content": "one two three"}],
    }
    events = [line[len("data: ") :] for line in webui.call("/api/chat/completions", chat).splitlines() if line]
    assert events.pop() == "[DONE]"
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "You said: one two three"
    assert len(upstream.received()) == 1


@pytest.mark.parametrize("behind", gateways.MODELS)
def test_a_chat_with_a_picture_is_answered_whole(webui, upstream, behind):
    picture = (
        "data:image/png;base64,"
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    content = [{"type": "text", "text": "one two"}, {"type": "image_url", "image_url": {"url": picture}}]
    chat = {"model": gateways.MODELS[behind], "messages": [{"role": "user", "content": content}]}
    answer = json.loads(webui.call("/api/chat/completions", chat))
    assert answer["choices"][0]["message"]["content"] == "I see image/png of 70 bytes. You said: one two"


@pytest.mark.parametrize("behind", gateways.MODELS)
def test_a_refusal_is_shown(webui, upstream, behind):
    upstream.fail(400)
    chat = {"model": gateways.MODELS[behind], "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(urllib.error.HTTPError) as raised:
        webui.call("/api/chat/completions", chat)
    assert raised.value.code == 400
    assert json.loads(raised.value.read())["error"]["type"] == "invalid_request_error"
