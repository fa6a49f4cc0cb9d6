"""Steady traffic with open streams while parts are rolled or killed: nothing is refused, nothing is cut."""

import json
import time

import pytest

from kube import NAMESPACE, RELEASE, app, until

LONG = {"pieces": [f"{number} " for number in range(40)], "delay_chunk_ms": 500}  # 20 s


@pytest.fixture(scope="module")
def vendor(kube, readable_keys):
    """The scripted vendor, told to answer `long` slowly. Its control port is reached from a pod in the cluster."""
    body = json.dumps({"models": {"long": LONG}})
    code = f"import urllib.request as u; u.urlopen(u.Request('http://upstream.models.svc:8000/_script', {body!r}.encode()))"
    pod = app("script", "shop", "traffic.py", [], "app-routeapi")
    pod["spec"]["containers"][0]["command"] = ["python3", "-c", code]
    kube.apply(pod)
    kube.wait("shop", "jsonpath={.status.phase}=Succeeded", "pod/script")


class Traffic:
    """A pod of steady traffic; `stop` gives its sums."""

    def __init__(self, kube, name):
        self.kube, self.name = kube, name
        kube.apply(app(name, "shop", "traffic.py", ["gpt", "long"], "app-routeapi"))
        until("traffic", lambda: "started" in self.log())

    def log(self):
        if self.kube.get("pod", self.name, namespace="shop")["status"]["phase"] == "Pending":
            return ""
        return self.kube.kubectl("logs", "--namespace", "shop", self.name)

    def stop(self):
        self.kube.kubectl("exec", "--namespace", "shop", self.name, "--", "python3", "-c", "import os; os.kill(1, 15)")
        self.kube.wait("shop", "jsonpath={.status.phase}=Succeeded", f"pod/{self.name}", seconds=60)
        return json.loads(self.log().splitlines()[-1])


def record(figures, name, sums):
    counts = sums["counts"]
    bad = {key: counts.get(key, 0) for key in ("failed", "streams_refused", "streams_cut")}
    figures[name] = (
        f"{counts.get('answered', 0)} answers and {counts.get('streams_whole', 0)} whole streams; "
        f"failed {bad['failed']}, streams refused {bad['streams_refused']}, streams cut {bad['streams_cut']}, "
        f"sent once more on a new connection {counts.get('reused', 0)}, longest answer {sums['longest_answer_s']} s"
    )
    assert counts.get("answered", 0) > 100 and counts.get("streams_whole", 0) >= 6, sums
    assert not any(bad.values()), sums


def names(kube, component):
    return {pod["metadata"]["name"] for pod in kube.pods(component)}


def gone(kube, component, old):
    until(f"the end of the old {component} pods", lambda: not old & names(kube, component), 180)


def test_a_rollout_of_the_data_plane_is_not_noticed(kube, vendor, figures):
    traffic, old = Traffic(kube, "during-rollout"), names(kube, "data-plane")
    kube.kubectl("rollout", "restart", "--namespace", NAMESPACE, f"deployment/{RELEASE}")
    kube.rolled_out(RELEASE)
    gone(kube, "data-plane", old)
    record(figures, "traffic during a rollout of the data plane", traffic.stop())


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
