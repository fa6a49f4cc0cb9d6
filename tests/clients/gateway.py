"""Starts `routeapi run` with manifests that route one model id to each dialect of the scripted upstream."""

import os

import processes

TOKEN = "sk-clients-of-the-test"
UPSTREAM_KEY = "sk-upstream-only"
# The model id that a client names, by the dialect of the upstream that serves it.
MODELS = {
    "openai": "via-openai",
    "chat": "via-chat",
    "responses": "via-responses",
    "anthropic": "via-anthropic",
    "gemini": "via-gemini",
}
TYPES = {"anthropic": "Anthropic", "gemini": "Gemini"}
# What servers of OpenAI's type have: both of its APIs, or one.
ENDPOINTS = {
    "openai": "endpoints: [ChatCompletions, Responses, Embeddings]",
    "chat": "endpoints: [ChatCompletions, Embeddings]",
    "responses": "endpoints: [Responses]",
}

COMMON = f"""\
apiVersion: v1
kind: Secret
metadata: {{name: upstream-key, namespace: default}}
stringData: {{apiKey: {UPSTREAM_KEY}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: clients, namespace: default, labels: {{routeapi.dev/import: "true"}}}}
stringData: {{token: {TOKEN}}}
---
apiVersion: routeapi.dev/v1alpha1
kind: ApiToken
metadata: {{name: clients, namespace: default}}
spec: {{models: ["*"], secretName: clients}}
"""

ROUTE = """\
---
apiVersion: routeapi.dev/v1alpha1
kind: AIProvider
metadata: {{name: {dialect}, namespace: default}}
spec:
  type: {type}
  baseURL: {url}
  {endpoints}
  credentials: {{apiKey: {{secretRef: {{name: upstream-key, key: apiKey}}}}}}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {{name: {model}, namespace: default}}
spec:
  model: {model}
  upstreams:
    - name: only
      providerRef: {{name: {dialect}}}
      model: upstream-{dialect}
  fallback: {{maxAttempts: 1}}
"""


def manifests(upstream_url):
    text = COMMON
    for dialect, model in MODELS.items():
        url = upstream_url + ("/v1" if dialect in ENDPOINTS else "")
        kind, endpoints = TYPES.get(dialect, "OpenAI"), ENDPOINTS.get(dialect, "")
        text += ROUTE.format(dialect=dialect, type=kind, url=url, model=model, endpoints=endpoints)
    return text


def start(binary, upstream_url, directory):
    return run(manifests(upstream_url), directory, binary=binary)


def run(text, directory, *options, binary=None, env=None):
    """A gateway with these manifests, and these variables beside the process's own."""
    path = directory / "manifests.yaml"
    path.write_text(text)
    command = [binary or os.environ["ROUTEAPI_BIN"], "run", "-f", str(path)]
    return processes.Process([*command, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *options], env)
