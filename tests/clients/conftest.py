"""Fixtures: the scripted upstream, the gateway in front of it, and a driver pointed at either.

Environment:
  SCRIPTED_UPSTREAM_BIN  the scripted upstream (default: target/debug/scripted-upstream)
  ROUTEAPI_BIN           the gateway
  AGENTS_BIN             the folder of the coding agents' programs
  NODE_CLIENTS           the folder of Node's SDKs
  OPEN_WEBUI_BIN         the folder of Open WebUI's program

Without one of the last four the tests that need it are not collected; under CI=true that is an error.
"""

import os

import pytest

import gateway as gateways
from drivers import DRIVERS
from processes import Process, Upstream, built

pytest_plugins = ["clouds.fixtures"]

# The beginning of a test file's name, and what its tests need beside the scripted upstream.
NEEDED = {
    "test_gateway_": "ROUTEAPI_BIN",
    "test_gateway_agents": "AGENTS_BIN",
    "test_gateway_node": "NODE_CLIENTS",
    "test_gateway_open_webui": "OPEN_WEBUI_BIN",
}


def pytest_ignore_collect(collection_path):
    for beginning, variable in NEEDED.items():
        if not collection_path.name.startswith(beginning) or os.environ.get(variable):
            continue
        if os.environ.get("CI") == "true":
            raise pytest.UsageError(f"{variable} is not set: under CI nothing may be left out")
        return True
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome, report.longrepr = "failed", "skipping is not allowed under CI"
    return report


@pytest.fixture(scope="session")
def upstream_process():
    process = Process([built("scripted-upstream", "SCRIPTED_UPSTREAM_BIN"), "--until-eof"])
    yield process
    process.stop()


@pytest.fixture
def upstream(upstream_process):
    """The scripted upstream, healthy and with an empty memory."""
    control = Upstream(upstream_process.url)
    control.reset()
    return control


@pytest.fixture(scope="session")
def gateway(upstream_process, tmp_path_factory):
    """`routeapi run` with a route to each dialect of the scripted upstream; one for all tests."""
    running = gateways.start(os.environ["ROUTEAPI_BIN"], upstream_process.url, tmp_path_factory.mktemp("gateway"))
    yield running
    running.stop()


@pytest.fixture
def own_gateway(upstream_process, tmp_path):
    """A gateway for one test: what fails in it (cool-down, eviction) is not felt by the next."""
    running = gateways.start(os.environ["ROUTEAPI_BIN"], upstream_process.url, tmp_path)
    yield running
    running.stop()


@pytest.fixture
def connect():
    """Makes drivers: `connect("anthropic", root, key, model)`; closes them when the test ends."""
    made = []

    def make(name, root, key, model):
        made.append(DRIVERS[name](root, key, model))
        return made[-1]

    yield make
    for driver in made:
        driver.close()
