"""Steady traffic with open streams while parts are rolled or killed: nothing is refused, nothing is cut."""

import datetime
import json
import time

import pytest

from kube import NAMESPACE, RELEASE, app, until
from steady import Traffic, record

LONG = {"pieces": [f"{number} " for number in range(40)], "delay_chunk_ms": 300}  # 12 s


@pytest.fixture(scope="module")
def vendor(kube, readable_keys):
    """The scripted vendor, told to answer `long` slowly. Its control port is reached from a pod in the cluster."""
    body = json.dumps({"models": {"long": LONG}})
    code = f"import urllib.request as u; u.urlopen(u.Request('http://upstream.models.svc:8000/_script', {body!r}.encode()))"
    pod = app("script", "shop", "traffic.py", [], "app-routeapi")
    pod["spec"]["containers"][0]["command"] = ["python3", "-c", code]
    kube.apply(pod)
    kube.wait("shop", "jsonpath={.status.phase}=Succeeded", "pod/script")


def names(kube, component):
    return {pod["metadata"]["name"] for pod in kube.pods(component)}


def gone(kube, component, old):
    until(f"the end of the old {component} pods", lambda: not old & names(kube, component), 180)


def first_request(kube, pod):
    """Seconds from a pod's container start, as whole seconds tell it, and from its first log line to its first request."""
    lines = kube.kubectl("logs", "--namespace", NAMESPACE, pod["metadata"]["name"], "--timestamps").splitlines()
    moments = [(datetime.datetime.fromisoformat(when), json.loads(line)) for when, line in (l.split(" ", 1) for l in lines)]
    served = next(when for when, line in moments if line.get("path") == "/v1/chat/completions")
    started = datetime.datetime.fromisoformat(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])
    return (served - started).total_seconds(), (served - moments[0][0]).total_seconds()


def test_a_rollout_of_the_data_plane_is_not_noticed(kube, vendor, figures):
    traffic, old = Traffic(kube, "during-rollout"), names(kube, "data-plane")
    kube.kubectl("rollout", "restart", "--namespace", NAMESPACE, f"deployment/{RELEASE}")
    kube.rolled_out(RELEASE)
    gone(kube, "data-plane", old)
    record(figures, "traffic during a rollout of the data plane", traffic.stop())
    firsts = [first_request(kube, pod) for pod in kube.pods("data-plane")]
    figures["data-plane container start (whole seconds) until the first request it served, under traffic"] = (
        ", ".join(f"{since_start:.1f} s ({since_line:.2f} s after its first log line)" for since_start, since_line in firsts)
    )


def kill(kube, component):
    """SIGKILLs the processes of a component's containers, from a pod that sees the node's processes."""
    containers = [pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2] for pod in kube.pods(component)]
    code = (
        "import os, glob\n"
        f"for group in glob.glob('/proc/[0-9]*/cgroup'):\n"
        f"    if any(container in open(group).read() for container in {containers!r}):\n"
        "        os.kill(int(group.split('/')[2]), 9)\n"
        "        print('killed')\n"
    )
    pod = app(f"kill-{component}", "kube-system", "traffic.py", [], "none")
    container = pod["spec"]["containers"][0]
    del container["envFrom"]
    container["command"] = ["python3", "-c", code]
    container["securityContext"] = {"privileged": True, "runAsUser": 0}
    pod["spec"] |= {"hostPID": True, "securityContext": {}}
    kube.apply(pod)
    kube.wait("kube-system", "jsonpath={.status.phase}=Succeeded", f"pod/kill-{component}")
    said = kube.kubectl("logs", "--namespace", "kube-system", f"kill-{component}").split()
    kube.kubectl("delete", "pod", "--namespace", "kube-system", f"kill-{component}")
    assert len(said) == len(containers), said


def test_neither_a_rollout_nor_a_dead_operator_is_noticed_through_a_sidecar(kube, vendor, keyless, figures):
    traffic, old = Traffic(kube, "through-a-sidecar", "checkout"), names(kube, "data-plane")
    kill(kube, "operator")
    kube.kubectl("rollout", "restart", "--namespace", NAMESPACE, f"deployment/{RELEASE}")
    kube.rolled_out(RELEASE)
    gone(kube, "data-plane", old)
    kube.rolled_out(f"{RELEASE}-operator")
    record(figures, "traffic through a sidecar while the operator is killed and the data plane rolled", traffic.stop())


def change_a_route(kube, alias):
    """Gives a route another alias and waits until every gateway has it: the operator does its work."""
    patch = json.dumps({"spec": {"aliases": [alias]}})
    kube.kubectl("patch", "--namespace", "shop", "airoute/gpt", "--type=merge", "-p", patch)
    generation = kube.get("airoute", "gpt", namespace="shop")["metadata"]["generation"]

    def programmed():
        condition = kube.condition("airoute", "gpt", "shop")
        return condition and condition["status"] == "True" and condition["observedGeneration"] == generation

    started = time.monotonic()
    until("the changed route to be Ready", programmed)
    return time.monotonic() - started


def statuses_are_right(kube):
    """Every object is Ready as it is now, and every route at every data plane."""
    pods = len(kube.pods("data-plane"))

    def right(item):
        status = item.get("status", {})
        ready = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
        current = ready.get("status") == "True" and ready.get("observedGeneration") == item["metadata"]["generation"]
        return current and (item["kind"] != "AIRoute" or status["dataPlane"]["summary"] == f"{pods}/{pods}")

    def wrong():
        found = kube.get("aiproviders,airoutes,apitokens", "--all-namespaces")["items"]
        return {f"{item['kind']} {item['metadata']['name']}": item.get("status") for item in found if not right(item)}

    until("every object Ready at every data plane", lambda: wrong() == {})
    assert kube.get("airoutes", "--all-namespaces")["items"]


def test_operators_that_crash_leave_or_are_rolled_are_not_noticed(kube, vendor, figures):
    traffic, operator = Traffic(kube, "during-operator"), f"{RELEASE}-operator"
    kill(kube, "operator")
    figures["both operators killed: a change made then is in force after"] = f"{change_a_route(kube, 'gpt-1'):.1f} s"
    kube.rolled_out(operator)
    holder = kube.get("lease", operator)["spec"]["holderIdentity"]
    assert holder in names(kube, "operator")
    kube.kubectl("delete", "pod", "--namespace", NAMESPACE, holder)
    started = time.monotonic()
    until("another leader", lambda: kube.get("lease", operator)["spec"]["holderIdentity"] not in (holder, ""))
    figures["leading operator deleted until another one leads"] = f"{time.monotonic() - started:.1f} s"
    kube.rolled_out(operator)
    old = names(kube, "operator")
    kube.kubectl("rollout", "restart", "--namespace", NAMESPACE, f"deployment/{operator}")
    kube.rolled_out(operator)
    gone(kube, "operator", old)
    figures["both operators rolled: a change made then is in force after"] = f"{change_a_route(kube, 'gpt-2'):.1f} s"
    record(figures, "traffic while operators are killed, deleted and rolled", traffic.stop())


def test_an_api_server_that_is_away_for_a_minute_is_not_noticed(kube, node, vendor, figures):
    traffic = Traffic(kube, "during-outage")
    node.kill("kube-apiserver")
    time.sleep(60)  # the outage itself
    node.start_api_server(kube)
    back = time.monotonic()
    change_a_route(kube, "gpt-3")
    figures["API server back after a minute: a change made then is in force after"] = f"{time.monotonic() - back:.1f} s"
    statuses_are_right(kube)
    record(figures, "traffic while the API server is away for a minute", traffic.stop())


def bundle(kube):
    """The CA certificates that data planes trust."""
    return kube.get("configmap", f"{RELEASE}-config-ca")["data"]["ca.crt"].split("-----END CERTIFICATE-----")[:-1]


def test_certificates_are_replaced_live(kube, vendor, figures):
    traffic, old = Traffic(kube, "during-rotation"), bundle(kube)
    assert len(old) == 1
    kube.kubectl("annotate", "--namespace", NAMESPACE, "secret", f"{RELEASE}-config-tls", "routeapi.dev/rotate-ca=now")
    started = time.monotonic()
    until("both CAs to be trusted", lambda: len(bundle(kube)) == 2)
    until("the new CA alone to be trusted", lambda: (new := bundle(kube)) != old and len(new) == 1, 180)
    figures["CA and serving certificate replaced, both trusted in between"] = f"{time.monotonic() - started:.0f} s"
    # Streams to the operator that were open go on; those that are made now can rely on the new CA only.
    before = names(kube, "operator")
    kube.kubectl("rollout", "restart", "--namespace", NAMESPACE, f"deployment/{RELEASE}-operator")
    kube.rolled_out(f"{RELEASE}-operator")
    gone(kube, "operator", before)
    change_a_route(kube, "gpt-4")
    statuses_are_right(kube)
    record(figures, "traffic while certificates are replaced", traffic.stop())
