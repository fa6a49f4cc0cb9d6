"""`helm install` with defaults on an empty cluster: ready, restricted, small, and refusing what it does not know."""

import json

import pytest

from kube import CHART, NAMESPACE, RELEASE, Refused, until


def test_every_pod_is_ready_and_none_was_restarted(kube, release):
    pods = kube.pods("operator") + kube.pods("data-plane")
    assert len(pods) == 4
    for pod in pods:
        for container in pod["status"]["containerStatuses"]:
            assert container["ready"] and container["restartCount"] == 0, container


def test_helm_test_passes(kube, release):
    kube.helm("test", RELEASE, "--namespace", NAMESPACE, "--timeout", "1m")


def test_the_data_plane_has_no_rights(kube, release):
    account = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
    for right in ("get secrets", "list airoutes.routeapi.dev", "get pods", "create tokenreviews.authentication.k8s.io"):
        with pytest.raises(Refused, match="no"):
            kube.kubectl("auth", "can-i", *right.split(), "--as", account, "--namespace", NAMESPACE)


def test_a_value_that_does_not_exist_is_named(kube, release):
    with pytest.raises(Refused, match="dataPlan"):
        kube.helm("upgrade", RELEASE, CHART, "--namespace", NAMESPACE, "--set", "dataPlan.replicas=3")


def summary(kube):
    """What the kubelets measure of every pod."""
    for node in kube.get("nodes")["items"]:
        path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary"
        yield from json.loads(kube.kubectl("get", "--raw", path))["pods"]


def memory(kube, component):
    """Resident bytes of each container of a component, as the kubelet measures them; none before it has."""
    names = {pod["metadata"]["name"] for pod in kube.pods(component)}
    found = []
    for pod in summary(kube):
        if pod["podRef"]["name"] in names:
            found += [c["memory"]["rssBytes"] for c in pod.get("containers", []) if c["memory"].get("rssBytes")]
    return found if len(found) == len(names) else []


@pytest.mark.parametrize(("component", "limit"), [("operator", 30), ("data-plane", 15)])
def test_idle_pods_are_small(kube, release, figures, component, limit):
    measured = until(f"memory of {component}", lambda: memory(kube, component), 90)
    figures[f"memory of an idle {component} pod"] = ", ".join(f"{value / 2**20:.1f}" for value in measured) + " MiB resident"
    assert max(measured) <= limit * 2**20
