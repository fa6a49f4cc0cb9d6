"""What the operator may do, what it did, and what it was refused: the chart's roles beside the API server's audit log."""

import datetime
import json
from dataclasses import dataclass

from kube import CHART, NAMESPACE, RELEASE

OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-operator"
DATA_PLANE = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
BINDINGS = ("rolebindings", "clusterrolebindings")
# Granted to every account that has authenticated, by roles of the cluster's own.
DISCOVERY = ("/openapi/", "/api", "/version", "/healthz", "/livez", "/readyz")


@dataclass(frozen=True)
class Right:
    """One verb on one resource: everywhere, in one namespace, or for one name."""

    namespace: str
    verb: str
    group: str
    resource: str
    name: str = ""

    def __str__(self):
        what = f"{self.verb} {self.resource}{'.' if self.group else ''}{self.group}"
        return f"{what}{'/' if self.name else ''}{self.name} in {self.namespace or 'the cluster'}"

    def covers(self, use):
        same = (self.verb, self.group, self.resource) == (use.verb, use.group, use.resource)
        return same and self.namespace in ("", use.namespace) and self.name in ("", use.name)


def granted(kube, values):
    """The operator's rights, as the chart with these values grants them."""
    text = kube.helm("template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", kube.version(),
                     "--show-only", "templates/access/operator-roles.yaml", *values)
    roles = kube.kubectl("create", "--dry-run=client", "-o", "json", "-f", "-", text=text)
    found = set()
    for role in documents(roles):
        for rule in role.get("rules") or []:
            found |= {Right("", verb, "", url) for verb in rule["verbs"] for url in rule.get("nonResourceURLs", [])}
            found |= {
                Right(role["metadata"].get("namespace", ""), verb, group, resource, name)
                for verb in rule["verbs"] for group in rule.get("apiGroups", []) for resource in rule.get("resources", [])
                for name in rule.get("resourceNames", [""])
            }
    return found


def documents(text):
    """The JSON documents that kubectl prints one after the other."""
    decoder, position, found = json.JSONDecoder(), 0, []
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        document, position = decoder.raw_decode(text, position)
        found.append(document)
    return found


def events(path):
    for line in path.read_text().splitlines():
        yield json.loads(line)


def used(path, account):
    """What an account asked for, without what every account may ask."""
    found = set()
    for event in events(path):
        if event["user"]["username"] != account or event["requestURI"].startswith(DISCOVERY) and "objectRef" not in event:
            continue
        if "objectRef" not in event:
            found.add(Right("", event["verb"], "", event["requestURI"].partition("?")[0]))
            continue
        what = event["objectRef"]
        resource = "/".join(filter(None, [what["resource"], what.get("subresource")]))
        found.add(Right(what.get("namespace", ""), event["verb"], what.get("apiGroup", ""), resource, what.get("name", "")))
    return found


def refused(path, account, starting):
    """Calls of an account that were forbidden while its roles were bound to it, and the API server not `starting`.

    `helm uninstall` takes the roles away before the pods have ended; what those ask for in their last second is excused.
    """
    bound, found = False, []
    for event in sorted(events(path), key=lambda event: event["stageTimestamp"]):
        what, code = event.get("objectRef", {}), event["responseStatus"]["code"]
        if what.get("resource") in BINDINGS and f"{RELEASE}-operator" in what.get("name", "") and code < 300:
            bound = event["verb"] != "delete"  # Helm 4 creates by a patch
        elif event["user"]["username"] == account and code == 403 and bound:
            when = datetime.datetime.fromisoformat(event["stageTimestamp"])
            if not any(began <= when <= ready for began, ready in starting):
                found.append(f"{event['verb']} {event['requestURI']}")
    return found


def never_used(rights, uses):
    """The rights that no call needed: a call is put down to the narrowest right that allows it."""
    needed = set()
    for use in uses:
        allowing = [right for right in rights if right.covers(use)]
        if allowing:
            needed.add(max(allowing, key=lambda right: (right.name != "", right.namespace != "")))
    return rights - needed
