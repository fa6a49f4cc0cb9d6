"""Steady traffic from a pod while something happens to the cluster, and the sums of it."""

import json

from kube import app, until


class Traffic:
    """A pod of steady traffic; `stop` gives its sums."""

    def __init__(self, kube, name):
        self.kube, self.name = kube, name
        kube.apply(app(name, "shop", "traffic.py", ["gpt", "long"], "app-routeapi"))
        # After an API server's outage the kubelet's own waits can put off a pod for a minute.
        until("traffic", lambda: "started" in self.log(), seconds=180)

    def log(self):
        if self.kube.get("pod", self.name, namespace="shop")["status"]["phase"] == "Pending":
            return ""
        return self.kube.kubectl("logs", "--namespace", "shop", self.name)

    def stop(self):
        self.kube.kubectl("exec", "--namespace", "shop", self.name, "--", "python3", "-c", "import os; os.kill(1, 15)")
        self.kube.wait("shop", "jsonpath={.status.phase}=Succeeded", f"pod/{self.name}", seconds=60)
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
