"""Coding agents from npm through the gateway: each is set up as docs/clients.md says, asks, uses a tool of its own, and says
what the model made of it.

Environment: AGENTS_BIN, the folder of their programs. Without it they are not tested; under CI=true that is an error.
"""

import dataclasses
import json
import os
import pathlib
import subprocess

import pytest

import gateway as gateways

# A word that only the file has: whoever says it has read the file.
WORD = "zanzibar-17"


@dataclasses.dataclass
class Place:
    """Where an agent runs: the gateway's address, a model, a home directory, and a folder with a file."""

    gateway: str
    model: str
    home: pathlib.Path
    folder: pathlib.Path

    @property
    def file(self):
        return self.folder / "notes.txt"


class Claude:
    reached = ["anthropic", "openai", "gemini"]
    # Its own words, for an error of type not_found_error.
    unknown_model = "It may not exist or you may not have access to it"

    def __init__(self, place):
        self.command = ["claude", "-p"]
        self.environment = {
            "ANTHROPIC_BASE_URL": place.gateway,
            "ANTHROPIC_AUTH_TOKEN": gateways.TOKEN,
            "ANTHROPIC_MODEL": place.model,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": place.model,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        self.tool = {"name": "Read", "arguments": {"file_path": str(place.file)}}


class Codex:
    reached = ["openai", "anthropic", "gemini"]
    unknown_model = "does not exist or you do not have access to it"

    def __init__(self, place):
        # Its sandbox needs user namespaces, which a container may not have; the only command here is the test's.
        unconfined = "--dangerously-bypass-approvals-and-sandbox"
        self.command = ["codex", "exec", "--skip-git-repo-check", unconfined]
        self.environment = {"ROUTEAPI_KEY": gateways.TOKEN, "CODEX_HOME": str(place.home / ".codex")}
        write(
            place.home / ".codex/config.toml",
            f"""\
model = "{place.model}"
model_provider = "routeapi"

[model_providers.routeapi]
name = "RouteAPI"
base_url = "{place.gateway}/v1"
env_key = "ROUTEAPI_KEY"
wire_api = "responses"
stream_idle_timeout_ms = 600000
""",
        )
        self.tool = {"name": "exec_command", "arguments": {"cmd": f"cat {place.file}"}}


class Gemini:
    reached = ["gemini", "openai", "anthropic"]
    unknown_model = "does not exist or you do not have access to it"

    def __init__(self, place):
        self.command = ["gemini", "-m", place.model, "-p"]
        self.environment = {
            "GEMINI_API_KEY": gateways.TOKEN,
            "GOOGLE_GEMINI_BASE_URL": place.gateway,
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        }
        settings = {
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "privacy": {"usageStatisticsEnabled": False},
            "general": {"enableAutoUpdate": False},
        }
        write(place.home / ".gemini/settings.json", json.dumps(settings))
        self.tool = {"name": "read_file", "arguments": {"file_path": str(place.file)}}


AGENTS = {"claude": Claude, "codex": Codex, "gemini": Gemini}
PAIRS = [(name, behind) for name, agent in AGENTS.items() for behind in agent.reached]
PAIRED = pytest.mark.parametrize("name, behind", PAIRS, ids=["-to-".join(pair) for pair in PAIRS])


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ask(agent, place, prompt):
    """What the agent prints. It gets an environment of its own: settings of whoever runs the tests are not for it."""
    programs = pathlib.Path(os.environ["AGENTS_BIN"])
    done = subprocess.run(
        [programs / agent.command[0], *agent.command[1:], prompt],
        cwd=place.folder,
        env={"HOME": str(place.home), "PATH": os.environ["PATH"], "NO_COLOR": "1", **agent.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def place(gateway, tmp_path):
    """Makes the place for an agent whose model is served by an upstream of this type."""

    def make(behind):
        made = Place(gateway.url, gateways.MODELS[behind], tmp_path / "home", tmp_path / "work")
        made.home.mkdir()
        write(made.file, f"The word is {WORD}.\n")
        return made

    return make


@PAIRED
def test_an_agent_asks_and_uses_a_tool(place, upstream, name, behind):
    here = place(behind)
    agent = AGENTS[name](here)
    # Codex sends members of its own to whoever speaks Responses, and vendors let them pass.
    upstream.script(tool_call=agent.tool, tolerate_unknown=True)
    said = ask(agent, here, "Which word is in notes.txt?")
    assert "The tool said:" in said and WORD in said
    asked = upstream.received()
    assert len(asked) == 2, [request["path"] for request in asked]
    assert all(gateways.TOKEN not in json.dumps(request) for request in asked)


@PAIRED
def test_an_agent_shows_what_is_wrong(place, upstream, name, behind):
    """A person reads in the terminal what the gateway says of a model that nobody serves."""
    here = place(behind)
    agent = AGENTS[name](dataclasses.replace(here, model="nobody-serves-this"))
    with pytest.raises(AssertionError, match=agent.unknown_model):
        ask(agent, here, "x")
    assert upstream.received() == []
