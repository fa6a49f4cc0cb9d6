"""Steady traffic from a pod while something happens to the cluster, and the sums of it."""

import json

from conftest import KEYLESS
from kube import app, until


class Traffic:
    """A pod of steady traffic; `stop` gives its sums."""

    def __init__(self, kube, name, account=None):
        """With the key of `shop`; or as a ServiceAccount of the namespace without keys, through a sidecar."""
        self.kube, self.name, self.namespace = kube, name, KEYLESS if account else "shop"
        pod = app(name, self.namespace, "traffic.py", ["gpt", "long"], None if account else "app-routeapi")
        if account:
            pod["spec"]["serviceAccountName"] = account
        kube.apply(pod)
        # After an API server's outage the kubelet's own waits can put off a pod for a minute.
        until("traffic", lambda: "started" in self.log(), seconds=180)

    def log(self):
        if self.kube.get("pod", self.name, namespace=self.namespace)["status"]["phase"] == "Pending":
            return ""
        return self.kube.kubectl("logs", "--namespace", self.namespace, self.name, "--container", "app")

    def stop(self):
        stop = ["python3", "-c", "import os; os.kill(1, 15)"]
        self.kube.kubectl("exec", "--namespace", self.namespace, self.name, "--container", "app", "--", *stop)
        self.kube.wait(self.namespace, "jsonpath={.status.phase}=Succeeded", f"pod/{self.name}", seconds=60)
        return json.loads(self.log().splitlines()[-1])


def record(figures, name, sums):
    """Prints the sums, and insists that nothing was refused or cut."""
    counts = sums["counts"]
    bad = {key: counts.get(key, 0) for key in ("failed", "streams_refused", "streams_cut")}
    figures[name] = (
        f"{counts.get('answered', 0)} answers and {counts.get('streams_whole', 0)} whole streams; "
        f"failed {bad['failed']}, streams refused {bad['streams_refused']}, streams cut {bad['streams_cut']}, "
        f"sent once more on a new connection {counts.get('reused', 0)}, longest answer {sums['longest_answer_s']} s"
    )
    assert counts.get("answered", 0) > 100 and counts.get("streams_whole", 0) >= 6, sums
    assert not any(bad.values()), sums
