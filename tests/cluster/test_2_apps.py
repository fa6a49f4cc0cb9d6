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
