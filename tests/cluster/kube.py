"""kubectl and helm on the cluster of the tests, and what is waited for in it."""

import json
import os
import pathlib
import subprocess
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts/routeapi"
RELEASE, NAMESPACE = "routeapi", "ai-platform"


class Refused(Exception):
    """A command said no; its words."""


class Kube:
    def __init__(self, programs, kubeconfig):
        self.programs = pathlib.Path(programs)
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}

    def _run(self, program, args, text=None, limit=300):
        command = [str(self.programs / program), *map(str, args)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=self.environment, timeout=limit)
        if done.returncode != 0:
            raise Refused(f"{program} {' '.join(map(str, args))}\n{done.stdout}{done.stderr}")
        return done.stdout

    def kubectl(self, *args, text=None):
        return self._run("kubectl", args, text)

    def helm(self, *args, program="helm"):
        return self._run(program, args)

    def version(self):
        return json.loads(self.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]

    def answers(self, path):
        """Whether the API server answers there."""
        try:
            return bool(self.kubectl("get", "--raw", path))
        except Refused:
            return False

    def apply(self, *objects):
        documents = "\n---\n".join(part if isinstance(part, str) else json.dumps(part) for part in objects)
        return self.kubectl("apply", "--server-side", "-f", "-", text=documents)

    def get(self, *args, namespace=NAMESPACE):
        where = [] if "--all-namespaces" in args else ["--namespace", namespace]
        return json.loads(self.kubectl("get", *args, *where, "-o", "json"))

    def wait(self, namespace, condition, *objects, seconds=90):
        self.kubectl("wait", "--namespace", namespace, f"--for={condition}", f"--timeout={seconds}s", *objects)

    def rolled_out(self, deployment, namespace=NAMESPACE):
        self.kubectl("rollout", "status", "--namespace", namespace, f"deployment/{deployment}", "--timeout=180s")

    def pods(self, component):
        labels = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
        return self.get("pods", "-l", labels)["items"]

    def condition(self, kind, name, namespace, condition="Ready"):
        found = self.get(kind, name, namespace=namespace).get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == condition), None)

    def namespace(self, name, **labels):
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def until(what, check, seconds=60):
    """The first truthy answer of `check`; an assertion with the last answer after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < end, f"{what} did not come within {seconds} s; last: {answer!r}"
        time.sleep(0.2)


def script_of(name):
    return (REPOSITORY / "tests/cluster/pods" / name).read_text()


def app(name, namespace, script, args, secret):
    """A pod of the app image that runs one of our scripts with a token's Secret as its environment, if there is one."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app",
                "image": "routeapi.test/app:1",
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-c", script_of(script), *args],
                "envFrom": [{"secretRef": {"name": secret}}] if secret else [],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }


def job(name, namespace, script, args, secret):
    """The same as a Job that is tried once."""
    template = app(name, namespace, script, args, secret)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": {"spec": template["spec"]}},
    }


def run_job(kube, name, namespace, script, args, secret, seconds=120):
    """Runs a Job to its end; its lines as JSON."""
    kube.apply(job(name, namespace, script, args, secret))

    def ended():
        return [c["type"] for c in kube.get("job", name, namespace=namespace).get("status", {}).get("conditions", [])]

    conditions = until(f"the end of job {name}", ended, seconds)
    log = kube.kubectl("logs", "--namespace", namespace, f"job/{name}")
    assert "Failed" not in conditions, log
    return [json.loads(line) for line in log.splitlines()]
