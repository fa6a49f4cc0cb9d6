"""Fixtures of the cluster suite: one cluster, one release of the chart, what apps need; and the figures that it prints.

Files run in the order of their numbers, on one release that the first installs and the last takes away.

Environment (set by tests/cluster/run):
  KUBECONFIG         the cluster
  CLUSTER_PROGRAMS   directory with kubectl, helm and helm4
"""

import datetime
import os
import signal
import time
from pathlib import Path

import pytest

from kube import CHART, NAMESPACE, RELEASE, REPOSITORY, Kube, Refused, until
from node import control, place

FIGURES = {}
KEY = "the-vendors-key"
MODELS = {"gpt": "OpenAI", "claude": "Anthropic", "gemini": "Gemini"}


@pytest.fixture(scope="session")
def figures():
    """What was measured, by name; printed at the end."""
    return FIGURES


def pytest_terminal_summary(terminalreporter):
    for name, value in FIGURES.items():
        terminalreporter.write_line(f"figure: {name}: {value}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome, report.longrepr = "failed", "skipping is not allowed under CI"
    elif report.failed and "kube" in getattr(item, "funcargs", {}):
        report.sections.append(("pods and events", state_of(item.funcargs["kube"])))
    return report


def state_of(kube):
    """What a person would look at first when a test fails."""
    commands = [
        ["get", "pods,airoute,aiprovider,apitoken", "-A", "-o", "wide"],
        ["get", "events", "-A", "--sort-by=.lastTimestamp"],
        *(["logs", "-n", NAMESPACE, "-l", f"app.kubernetes.io/component={part}", "--tail=50", "--prefix"]
          for part in ("operator", "data-plane")),
    ]
    said = []
    for command in commands:
        try:
            # Without the access log, which is of traffic that went well in all likelihood.
            lines = [line[:400] for line in kube.kubectl(*command).splitlines() if '"outcome":"completed"' not in line]
            said.append("\n".join(lines[-40:]))
        except Refused as error:
            said.append(str(error))
    return "\n\n".join(said)


@pytest.fixture(scope="session")
def kube():
    kube = Kube(os.environ["CLUSTER_PROGRAMS"], os.environ["KUBECONFIG"])
    if kube.kubectl("get", "crd", "airoutes.routeapi.dev", "--ignore-not-found"):
        pytest.exit("this cluster has RouteAPI already; the suite would change and delete it, so nothing was done", 1)
    return kube


class Node:
    """The test's own node: its programs can be stopped, and its audit log read."""

    audit = place.STATE / "audit.log"

    def __init__(self):
        # From when until when, by the clock of the audit log, the API server was starting: it refuses before it has read
        # who may do what.
        self.starting = []

    def kill(self, program):
        control.ask(do="signal", name=program, signal=signal.SIGKILL)
        until(f"the end of {program}", lambda: control.ask(do="list")[program]["status"] is not None)

    def start_api_server(self, kube):
        began = datetime.datetime.now(datetime.UTC)
        control.ask(do="start", name="kube-apiserver")
        until("the API server", lambda: kube.answers("/readyz"))
        self.starting.append((began, datetime.datetime.now(datetime.UTC)))


@pytest.fixture(scope="session")
def node():
    if Path(os.environ["KUBECONFIG"]) != place.KUBECONFIG:
        pytest.skip("needs a node of our own, which KUBECONFIG is not")
    return Node()


@pytest.fixture(scope="session")
def release(kube, figures):
    """The chart with its defaults, in a namespace that enforces the strictest Pod Security level."""
    kube.namespace(NAMESPACE, **{"pod-security.kubernetes.io/enforce": "restricted"})
    started = time.monotonic()
    kube.helm("install", RELEASE, CHART, "--namespace", NAMESPACE, "--wait", "--timeout", "2m")
    figures["helm install until all pods are ready"] = f"{time.monotonic() - started:.1f} s"


@pytest.fixture(scope="session")
def quickstart(kube, release, figures):
    """examples/quickstart.yaml, as the README says."""
    started = time.monotonic()
    kube.kubectl("apply", "-f", REPOSITORY / "examples/quickstart.yaml")
    kube.wait("default", "condition=Ready", "airoute/hello", "airoute/everything-else", "apitoken/quickstart")
    figures["kubectl apply until every object is Ready"] = f"{time.monotonic() - started:.2f} s"


def upstream_objects():
    """The scripted vendor as a Deployment of one pod and its Service, in namespace `models`."""
    labels = {"app": "upstream"}
    container = {
        "name": "upstream",
        "image": "routeapi.test/upstream:1",
        "imagePullPolicy": "IfNotPresent",
        "args": ["--listen", "0.0.0.0:8000", "--key", KEY],
        "readinessProbe": {"httpGet": {"path": "/_state", "port": 8000}, "periodSeconds": 1},
    }
    meta = {"name": "upstream", "namespace": "models"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "automountServiceAccountToken": False}}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
         "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta,
         "spec": {"selector": labels, "ports": [{"port": 8000}]}},
    ]


def providers():
    """One AIProvider per dialect, with their key, all at the scripted vendor."""
    objects = [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vendor", "namespace": "models"},
                "stringData": {"apiKey": KEY}}]
    for model, kind in MODELS.items():
        base = "http://upstream.models.svc:8000" + ("/v1" if kind == "OpenAI" else "")
        objects.append({
            "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider",
            "metadata": {"name": model, "namespace": "models"},
            "spec": {"type": kind, "baseURL": base, "allowedRoutes": {"namespaces": {"from": "All"}},
                     "credentials": {"apiKey": {"secretRef": {"name": "vendor", "key": "apiKey"}}}},
        })
    return objects


def routes_and_token():
    """A route per provider, one to the OpenAI-type provider for long answers, and a token, in namespace `shop`."""
    objects = [{"apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken", "metadata": {"name": "app", "namespace": "shop"},
                "spec": {"models": ["*"], "secretName": "app-routeapi"}}]
    for model, provider in {**{model: model for model in MODELS}, "long": "gpt"}.items():
        objects.append({
            "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute", "metadata": {"name": model, "namespace": "shop"},
            "spec": {"model": model,
                     "upstreams": [{"name": "vendor", "providerRef": {"name": provider, "namespace": "models"}}]},
        })
    return objects


@pytest.fixture(scope="session")
def shop(kube, release):
    """Upstream pods and providers in `models`, routes and a token in `shop`; not Ready before keys may be read there."""
    for namespace in ("models", "shop"):
        kube.namespace(namespace)
    kube.apply(*upstream_objects(), *providers(), *routes_and_token())
    kube.rolled_out("upstream", "models")


# What the release has after the upgrade below; the test of rights renders the roles of exactly this.
CHANGED = [
    "--set", f"providerNamespaces={{{NAMESPACE},models}}",
    "--set", "dataPlane.replicas=3",
    "--set", "sidecar.enabled=true",
    # Kubelets of this cluster update mounted files within ten seconds.
    "--set", "operator.extraArgs={--ca-propagation=20s}",
]


@pytest.fixture(scope="session")
def readable_keys(kube, shop):
    """The upgrade that lets the operator read keys in `models`, and to three data planes."""
    kube.helm("upgrade", RELEASE, CHART, "--namespace", NAMESPACE, "--reuse-values", "--wait", "--timeout", "3m", *CHANGED)
    kube.wait("shop", "condition=Ready", *(f"airoute/{model}" for model in [*MODELS, "long"]), "apitoken/app")


KEYLESS = "cart"


@pytest.fixture(scope="session")
def keyless(kube, readable_keys):
    """A namespace whose pods get sidecars, with ApiTokens that are its ServiceAccounts `checkout` and `leaver` and have no key."""
    kube.namespace(KEYLESS, **{"routeapi.dev/inject": "true", "pod-security.kubernetes.io/enforce": "restricted"})
    objects = []
    for account in ("checkout", "leaver", "stranger"):
        objects.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": KEYLESS}})
    for account in ("checkout", "leaver"):
        objects.append({
            "apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken", "metadata": {"name": account, "namespace": KEYLESS},
            "spec": {"models": ["*"], "subjects": [{"serviceAccountName": account}], "secretKeys": "None"},
        })
    for model, provider in {**{model: model for model in MODELS}, "long": "gpt"}.items():
        objects.append({
            "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute", "metadata": {"name": model, "namespace": KEYLESS},
            "spec": {"model": model,
                     "upstreams": [{"name": "vendor", "providerRef": {"name": provider, "namespace": "models"}}]},
        })
    kube.apply(*objects)
    routes = [f"airoute/{model}" for model in [*MODELS, "long"]]
    kube.wait(KEYLESS, "condition=Ready", *routes, "apitoken/checkout", "apitoken/leaver")

    def has_bundle():
        found = kube.get("mutatingwebhookconfigurations", "-l", f"app.kubernetes.io/instance={RELEASE}")["items"]
        return found and all(hook["clientConfig"].get("caBundle") for one in found for hook in one["webhooks"])

    until("the webhook's CA", has_bundle)
