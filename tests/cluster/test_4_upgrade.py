"""With Helm 3 and Helm 4: an upgrade that cannot work leaves what works in place; rollback repairs; uninstall keeps what people wrote."""

import json
import time

import pytest

from kube import CHART, NAMESPACE, RELEASE, REPOSITORY, Refused, run_job, until


def refused_upgrade(kube, *values):
    """With Helm 3 and Helm 4: an upgrade that cannot become ready; what apps get all the while."""
    with pytest.raises(Refused):
        kube.helm("upgrade", RELEASE, CHART, "--namespace", NAMESPACE, "--reuse-values", "--wait", "--timeout", "12s", *values)


def ask(kube, name):
    run_job(kube, name, "default", "sdks.py", ["hello"], "quickstart-routeapi-token")


def rollback(kube, program="helm"):
    kube.helm("rollback", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m", program=program)


def waiting(kube, component):
    """(pod, why its container does not run) of the pods of a component that are not running."""
    return [
        (pod["metadata"]["name"], status["state"]["waiting"]["reason"])
        for pod in kube.pods(component)
        for status in pod["status"].get("containerStatuses", [])
        if "waiting" in status["state"]
    ]


def test_an_image_that_does_not_exist_stops_the_upgrade_and_nothing_else(kube, quickstart):
    refused_upgrade(kube, "--set", "dataPlane.image.tag=does-not-exist", "--set", "dataPlane.image.pullPolicy=Never")
    assert "ErrImageNeverPull" in [reason for _, reason in waiting(kube, "data-plane")]
    ask(kube, "during-missing-image")
    rollback(kube)


def test_an_image_that_cannot_start_says_why_and_stops_nothing_else(kube, quickstart):
    refused_upgrade(kube, "--set", "dataPlane.extraArgs={--drain-timeuot=5s}")
    pod = until("a pod that cannot start", lambda: [name for name, _ in waiting(kube, "data-plane")])[0]
    log = kube.kubectl("logs", "--namespace", NAMESPACE, pod, "--previous")
    assert "--drain-timeuot" in log and "--drain-timeout" in log, log
    ask(kube, "during-wrong-argument")


def test_rollback_repairs(kube, quickstart):
    rollback(kube)
    until("the end of the pods that could not start", lambda: not any(
        "--drain-timeuot=5s" in pod["spec"]["containers"][0]["args"] for pod in kube.pods("data-plane")))
    ask(kube, "after-rollback")


FIELD = ("spec", "versions", 0, "schema", "openAPIV3Schema", "properties", "spec", "properties")


def test_crds_older_than_the_operator_stop_the_upgrade_and_are_named(kube, quickstart):
    crd = kube.get("crd", "aiproviders.routeapi.dev", namespace="default")
    fields = crd
    for step in FIELD:
        fields = fields[step]
    del fields["eviction"]
    kube.kubectl("replace", "-f", "-", text=json.dumps(crd))
    # As where somebody else applies the CRDs, and has not yet.
    refused_upgrade(kube, "--set", "crds.install=false", "--set", "operator.podAnnotations.rolled=now")
    starting = [pod["metadata"]["name"] for pod in kube.pods("operator") if "rolled" in pod["metadata"].get("annotations", {})]
    log = kube.kubectl("logs", "--namespace", NAMESPACE, starting[0])
    assert "AIProvider.spec.eviction" in log and "kubectl apply" in log, log
    ask(kube, "during-old-crds")
    kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", REPOSITORY / "crds")
    kube.rolled_out(f"{RELEASE}-operator")


def test_a_key_that_is_not_there_is_named_each_time(kube, quickstart):
    kube.apply({
        "apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider", "metadata": {"name": "no-key", "namespace": NAMESPACE},
        "spec": {"type": "Anthropic", "credentials": {"apiKey": {"secretRef": {"name": "nowhere", "key": "apiKey"}}}},
    })
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nowhere", "namespace": NAMESPACE},
              "stringData": {"apiKey": "k"}}

    def told():
        condition = kube.condition("aiprovider", "no-key", NAMESPACE, "ResolvedRefs")
        return condition and condition["status"] == "False" and condition["message"]

    for _ in range(2):
        message = until("ResolvedRefs=False", told)
        assert f"Secret {NAMESPACE}/nowhere does not exist" in message and '"apiKey"' in message, message
        kube.apply(secret)
        kube.wait(NAMESPACE, "condition=Ready", "aiprovider/no-key")
        kube.kubectl("delete", "--namespace", NAMESPACE, "secret/nowhere")
    until("ResolvedRefs=False", told)
    # The second time it is the same event once more.
    until("a repeated event", lambda: [
        event for event in kube.get("events.events.k8s.io")["items"]
        if event["regarding"]["name"] == "no-key" and event.get("series", {}).get("count", 1) > 1
    ])
    kube.kubectl("delete", "--namespace", NAMESPACE, "aiprovider/no-key")


def test_uninstall_keeps_objects_and_a_new_install_takes_them_up(kube, quickstart, figures):
    kube.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m")
    until("the end of all pods", lambda: not kube.pods("operator") and not kube.pods("data-plane"))
    assert kube.get("apitoken", "quickstart", namespace="default")["spec"]["models"] == ["*"]
    key = kube.get("secret", "quickstart-routeapi-token", namespace="default")["data"]["token"]
    started = time.monotonic()
    kube.helm("install", RELEASE, CHART, "--namespace", NAMESPACE, "--wait", "--timeout", "3m", program="helm4")
    figures["helm 4 install where a release was before"] = f"{time.monotonic() - started:.1f} s"
    kube.wait("default", "condition=Ready", "airoute/hello", "apitoken/quickstart")
    assert kube.get("secret", "quickstart-routeapi-token", namespace="default")["data"]["token"] == key
    ask(kube, "after-reinstall")


def test_helm_4_upgrades_rolls_back_tests_and_uninstalls(kube, quickstart):
    assert kube.helm("version", "--template", "{{.Version}}", program="helm4").startswith("v4.")
    where = ["--namespace", NAMESPACE]
    wait = ["--wait", "--timeout", "3m"]
    with pytest.raises(Refused, match="dataPlan"):
        kube.helm("upgrade", RELEASE, CHART, *where, "--set", "dataPlan.replicas=3", program="helm4")
    kube.helm("upgrade", RELEASE, CHART, *where, *wait, "--set", "dataPlane.replicas=3", program="helm4")
    assert len(kube.pods("data-plane")) == 3
    kube.helm("test", RELEASE, *where, "--timeout", "1m", program="helm4")
    rollback(kube, program="helm4")
    until("two data planes", lambda: len(kube.pods("data-plane")) == 2, 150)
    ask(kube, "after-helm-4")
    kube.helm("uninstall", RELEASE, *where, *wait, program="helm4")
    until("the end of all pods", lambda: not kube.pods("operator") and not kube.pods("data-plane"), 150)
