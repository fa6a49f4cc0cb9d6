"""Every command of the pages on installing, upgrading, GitOps, moving from LiteLLM and uninstalling, from an empty cluster
to an empty cluster; and what Argo CD and Flux make of live objects with the examples that those pages show.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

import pages
from kube import NAMESPACE, RELEASE, REPOSITORY, until
from node import place

CRDS = [f"{kind}.routeapi.dev" for kind in ("aiproviders", "airoutes", "apitokens")]
# What the manifests of the migration page name: the one upstream of its model `llama` that can be reached here.
VLLM_KEY = "sk-example-3"


@pytest.fixture(scope="module")
def empty_cluster(kube):
    """As before the first test: no release, no CRDs, nothing of theirs."""
    kube.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    kube.kubectl("delete", "crd", *CRDS, "--ignore-not-found")
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    kube.kubectl("wait", "--for=delete", "secret/quickstart-routeapi-token", "--timeout=60s")


@pytest.fixture(scope="module")
def reader(kube, empty_cluster, tmp_path_factory):
    images = Path(os.environ.get("CLUSTER_IMAGES") or REPOSITORY / "target/images")
    registry, enter = os.environ.get("CLUSTER_REGISTRY"), ()
    if registry is None:
        if Path(os.environ["KUBECONFIG"]) != place.KUBECONFIG:
            pytest.skip("needs a registry of that cluster's: CLUSTER_REGISTRY=HOST[:PORT]")
        pages.start_registry()
        registry, enter = pages.REGISTRY, pages.in_node_network()
    reader = pages.Reader(kube, tmp_path_factory.mktemp("home") / "reader", images, registry, enter)
    yield reader
    reader.close()


def page(name):
    return pytest.mark.parametrize("block", pages.blocks(name), ids=str)


@page("install")
def test_install(reader, block):
    reader.follow(block)


def test_what_helm_tells_to_do_next(kube, reader):
    """The commands of NOTES.txt, which stand indented between its sentences."""
    told = kube.helm("get", "notes", RELEASE, "--namespace", NAMESPACE).splitlines()
    commands = "\n".join(line.removeprefix("   ") for line in told if line.startswith("   "))
    printed = reader.shell("notes").run(f"{commands}\nkill $!")
    assert pages.matches("…airoute.routeapi.dev/demo condition met…\n{…Echo: Hello…}", printed), printed
    kube.kubectl("delete", "--namespace", NAMESPACE, "airoute/demo", "apitoken/demo", "aiprovider/echo")


@page("upgrade")
def test_upgrade(reader, block):
    reader.follow(block)


@pytest.fixture(scope="module")
def argocd(kube):
    """As much of Argo CD as the page touches: the ConfigMap of its settings."""
    kube.namespace("argocd")
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"}})
    yield
    kube.kubectl("delete", "namespace", "argocd")


@page("gitops")
def test_gitops(reader, argocd, block):
    reader.follow(block)


def documents(kube, path):
    """The documents of a YAML file. kubectl reads it as a person's would, and a cluster need not know their kinds."""
    listed = kube.kubectl("patch", "--local", "--type=merge", "--patch={}", "-o", "json", "-f", REPOSITORY / path)
    decoder, found = json.JSONDecoder(), []
    while listed := listed.lstrip():
        document, end = decoder.raw_decode(listed)
        found, listed = [*found, document], listed[end:]
    return found


@pytest.fixture(scope="module")
def judge(kube, argocd):
    """How Argo CD and Flux judge live objects, as set up by the page on GitOps."""
    scripts = kube.get("configmap", "argocd-cm", namespace="argocd")["data"]
    flux = documents(kube, "examples/gitops/flux.yaml")
    program = place.tools("health") / "health"

    def judge(kind, name, namespace):
        lua = scripts[f"resource.customizations.health.routeapi.dev_{kind}"]
        question = {"lua": lua, "flux": flux, "objects": [kube.get(kind, name, namespace=namespace)]}
        done = subprocess.run([program], input=json.dumps(question), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        judgement = json.loads(done.stdout)[0]
        return judgement["argo"], judgement["flux"], judgement["message"]

    return judge


def route(name, provider, **more):
    upstream = {"name": "echo", "providerRef": {"name": provider}, **more}
    return {"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute", "metadata": {"name": name, "namespace": "health"},
            "spec": {"model": f"health/{name}", "upstreams": [upstream]}}


def token(**more):
    return {"apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken", "metadata": {"name": "token", "namespace": "health"},
            "spec": {"models": ["health/*"], **more}}


@pytest.fixture(scope="module")
def judged(kube, judge):
    """One object of each kind that works, and a route that does not."""
    provider = {"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider",
                "metadata": {"name": "echo", "namespace": "health"}, "spec": {"type": "Echo"}}
    kube.namespace("health")
    kube.apply(provider, route("good", "echo"), route("broken", "nobody"), token())
    kube.wait("health", "condition=Ready", "aiprovider/echo", "airoute/good", "apitoken/token")
    kube.wait("health", "condition=Ready=false", "airoute/broken")
    yield
    kube.kubectl("delete", "namespace", "health")


@pytest.mark.parametrize(("kind", "name"), [("AIProvider", "echo"), ("AIRoute", "good"), ("ApiToken", "token")])
def test_what_works_is_healthy(judge, judged, kind, name):
    assert judge(kind, name, "health")[:2] == ("Healthy", "Current")


def test_what_is_broken_is_degraded_and_says_why(judge, judged):
    argo, flux, message = judge("AIRoute", "broken", "health")
    assert (argo, flux) == ("Degraded", "Failed")
    assert "health/nobody" in message


def test_a_suspended_token_is_as_wished(kube, judge, judged):
    kube.apply(token(state="Suspended"))
    kube.wait("health", "jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Suspended", "apitoken/token")
    assert judge("ApiToken", "token", "health")[:2] == ("Suspended", "Current")


def test_a_status_of_an_older_generation_is_progress(kube, judge, judged):
    kube.kubectl("scale", f"deployment/{RELEASE}-operator", "--namespace", NAMESPACE, "--replicas=0")
    until("the end of the operator", lambda: not kube.pods("operator"))
    kube.apply(route("good", "echo", weight=2), route("new", "echo"))
    assert judge("AIRoute", "good", "health")[:2] == ("Progressing", "InProgress")
    argo, flux, _ = judge("AIRoute", "new", "health")
    assert argo == "Progressing" and flux.startswith("error: "), "no status at all: Flux waits on, as the page says"
    kube.kubectl("scale", f"deployment/{RELEASE}-operator", "--namespace", NAMESPACE, "--replicas=2")
    kube.rolled_out(f"{RELEASE}-operator")
    kube.wait("health", "condition=Ready", "airoute/good", "airoute/new")
    assert judge("AIRoute", "good", "health")[:2] == ("Healthy", "Current")


@pytest.fixture(scope="module")
def vllm(kube):
    """The vLLM server of the migration page: the scripted vendor under that name."""
    labels = {"app": "vllm"}
    meta = {"name": "vllm", "namespace": NAMESPACE}
    container = {
        "name": "vllm", "image": "routeapi.test/upstream:1", "imagePullPolicy": "IfNotPresent",
        "args": ["--listen", "0.0.0.0:8000", "--key", VLLM_KEY],
        "readinessProbe": {"httpGet": {"path": "/_state", "port": 8000}, "periodSeconds": 1},
    }
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "automountServiceAccountToken": False}}
    kube.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
         "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": [{"port": 8000}]}},
    )
    kube.rolled_out("vllm")


@page("migrate-from-litellm")
def test_migrate(reader, vllm, block):
    reader.follow(block)


@page("uninstall")
def test_uninstall(reader, block):
    reader.follow(block)


def test_nothing_is_left(kube, reader):
    for kind in ("clusterrole", "clusterrolebinding", "crd"):
        left = [name for name in kube.kubectl("get", kind, "--output", "name").split() if "routeapi" in name]
        assert not left, left
    namespaces = kube.kubectl("get", "namespace", "--output", "name").split()
    assert not {f"namespace/{name}" for name in (NAMESPACE, "vendors", "support")} & set(namespaces)


def test_every_block_was_run_and_every_name_put_in(reader, figures):
    written = [block for name in pages.NAMES for block in pages.blocks(name)]
    assert all(pages.blocks(name) for name in pages.NAMES)
    assert reader.followed == written
    assert reader.used == set(pages.SUBSTITUTED)
    compared = sum(block.expected is not None for block in written)
    figures["commands of the pages"] = f"{len(written)} blocks run, the output of {compared} compared"
