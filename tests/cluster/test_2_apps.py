"""Apps in pods: token by `envFrom`, address by Service name, the official SDKs with nothing else configured."""

import datetime
import json

import pytest

from conftest import MODELS
from kube import run_job, until

SDKS = {"openai_chat", "anthropic_messages", "gemini"}


def check(lines, models):
    answers = {(line["model"], line["sdk"], line["form"]): line["text"] for line in lines}
    assert set(answers) == {(m, s, f) for m in models for s in SDKS for f in ("whole", "streamed")}
    assert all("shop" in text for text in answers.values()), answers


def test_the_quickstart_answers_all_sdks(kube, quickstart, figures):
    lines = run_job(kube, "quickstart", "default", "sdks.py", ["hello", "gpt-anything"], "quickstart-routeapi-token")
    check(lines, ["hello", "gpt-anything"])
    pod = kube.get("pods", "-l", "job-name=quickstart", namespace="default")["items"][0]
    started = pod["status"]["containerStatuses"][0]["state"]["terminated"]["startedAt"]
    began = datetime.datetime.fromisoformat(started).timestamp()  # whole seconds, rounded down
    figures["app container start until its first answer (Python's imports included)"] = f"{lines[0]['at'] - began:.1f} s"


def test_a_provider_whose_key_may_not_be_read_says_what_to_do(kube, shop):
    def told():
        condition = kube.condition("aiprovider", "gpt", "models", "ResolvedRefs")
        return condition and condition["status"] == "False" and condition["message"]

    message = until("ResolvedRefs=False", told)
    assert "models" in message and "providerNamespaces" in message, message


@pytest.mark.parametrize("model", MODELS)
def test_every_sdk_gets_every_vendors_model(kube, readable_keys, model):
    check(run_job(kube, f"sdks-{model}", "shop", "sdks.py", [model], "app-routeapi"), [model])


def test_only_the_hash_of_a_token_left_its_namespace(kube, readable_keys):
    secret = kube.get("secret", "app-routeapi", namespace="shop")["data"]
    for namespace in ("ai-platform", "models"):
        everything = json.dumps(kube.get("secrets,configmaps", namespace=namespace))
        assert secret["token"] not in everything


def test_a_token_is_rotated_and_both_keys_work(kube, readable_keys):
    """Until the overlap ends: pods that run have the old key in their environment, new ones get the new key."""
    def secret():
        return kube.get("secret", "app-routeapi", namespace="shop")["data"]

    old = secret()
    kube.kubectl("patch", "--namespace", "shop", "apitoken/app", "--type=merge", "-p", '{"spec": {"rotation": {"revision": 1}}}')
    until("another key", lambda: secret()["token"] != old["token"])
    kube.wait("shop", "condition=Ready", "apitoken/app")
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "before", "namespace": "shop"}, "data": old})
    for key in ("app-routeapi", "before"):
        check(run_job(kube, f"key-of-{key}", "shop", "sdks.py", ["gpt"], key), ["gpt"])
