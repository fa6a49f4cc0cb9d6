"""Apps without a key, an address or a Secret: a sidecar is added to their pods, and their ServiceAccount says who calls."""

import datetime
import json

from conftest import KEYLESS as NAMESPACE, MODELS
from kube import Refused, app, job, script_of, until
from test_1_install import summary
from test_2_apps import check


def pod_of(account, name):
    """The app's pod: nothing in it is about the gateway."""
    pod = app(name, NAMESPACE, "sdks.py", list(MODELS), None)
    return {**pod["spec"], "serviceAccountName": account}


def run(kube, account):
    """A Job of this account: how it ended, its log and its pod."""
    name = f"sdks-of-{account}"
    spec = pod_of(account, name)
    made = job(name, NAMESPACE, "sdks.py", list(MODELS), None)
    made["spec"]["template"]["spec"] = spec
    kube.apply(made)

    def ended():
        return [c["type"] for c in kube.get("job", name, namespace=NAMESPACE).get("status", {}).get("conditions", [])]

    conditions = until(f"the end of job {name}", ended, 120)
    log = kube.kubectl("logs", "--namespace", NAMESPACE, f"job/{name}", "--container", "app")
    return conditions, log, kube.get("pods", "-l", f"job-name={name}", namespace=NAMESPACE)["items"][0]


def test_a_job_uses_every_sdk_and_ends(kube, keyless, figures):
    conditions, log, pod = run(kube, "checkout")
    assert "Complete" in conditions, log
    check([json.loads(line) for line in log.splitlines()], list(MODELS))
    [sidecar] = pod["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("routeapi", "Always")
    created = datetime.datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    [state] = pod["status"]["containerStatuses"]
    started = datetime.datetime.fromisoformat(state["state"]["terminated"]["startedAt"])
    figures["pod with a sidecar: from its creation until the app starts (whole seconds)"] = f"{(started - created).seconds} s"


def test_another_service_account_is_refused(kube, keyless):
    conditions, log, _ = run(kube, "stranger")
    assert "Failed" in conditions and ("AuthenticationError" in log or "PermissionDeniedError" in log), log
    assert "stranger" in log, log


def test_a_deployment_calls_until_its_subject_is_removed(kube, keyless, figures):
    labels = {"app": "leaver"}
    spec = {**pod_of("leaver", "leaver"), "restartPolicy": "Always"}
    [container] = spec["containers"]
    container["command"] = ["python3", "-c", "import signal; signal.pause()"]
    kube.apply({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "leaver", "namespace": NAMESPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": spec}},
    })
    kube.rolled_out("leaver", NAMESPACE)
    inside = ["exec", "--namespace", NAMESPACE, "deploy/leaver", "--container", "app", "--"]

    def ask():
        return kube.kubectl(*inside, "python3", "-c", script_of("sdks.py"), "gpt")

    check([json.loads(line) for line in ask().splitlines()], ["gpt"])
    secrets = kube.get("secrets", namespace=NAMESPACE)["items"]
    assert secrets == [], "no key of the gateway's anywhere near the app"

    def resident():
        for pod in summary(kube):
            if pod["podRef"]["namespace"] == NAMESPACE:
                yield from (c["memory"].get("rssBytes") for c in pod.get("containers", []) if c["name"] == "routeapi")

    measured = until("memory of the sidecar", lambda: [size for size in resident() if size], 90)
    figures["memory of an idle sidecar"] = ", ".join(f"{size / 2**20:.1f}" for size in measured) + " MiB resident"
    assert max(measured) <= 15 * 2**20
    kube.kubectl("patch", "--namespace", NAMESPACE, "apitoken/leaver", "--type=merge",
                 "-p", '{"spec": {"subjects": [{"serviceAccountName": "nobody"}]}}')

    def refused():
        try:
            ask()
        except Refused as error:
            return "AuthenticationError" in str(error) or "PermissionDeniedError" in str(error)

    until("the end of its access", refused)
