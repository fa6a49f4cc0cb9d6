"""Vertex AI: a strict front for the scripted upstream.

Below `/v1/projects/{p}/locations/{l}` (or `/v1beta1/…`):

| path | is |
|---|---|
| `/publishers/google/models/{m}:{generateContent,streamGenerateContent,countTokens,predict,embedContent}` | Gemini |
| `/publishers/anthropic/models/{m}:{rawPredict,streamRawPredict}` | Claude; `count-tokens:rawPredict` counts |
| `/publishers/{other}/models/{m}:{rawPredict,streamRawPredict}` | others, which speak Chat Completions |
| `/endpoints/openapi/chat/completions` | Chat Completions for all; its error bodies are lists |

Sources: the vendor's pages on each; google-genai and the vendor's own SDK of Claude, which ask.
"""

import json
import re

from . import behind, google
from .server import Fake, document, segment, text

PLACE = re.compile(r"/v1(?:beta1)?/projects/([^/]+)/locations/([^/]+)/(.+)")
MODEL = re.compile(r"publishers/([^/]+)/models/([^/:]+):([A-Za-z]+)")
# What the body says of its version, and the version of the vendor's own API that this is.
VERSIONS = {"vertex-2023-10-16": "2023-06-01", "2026-10-21": "2026-10-21"}
GEMINI = {"generateContent", "streamGenerateContent", "countTokens", "embedContent", "predict"}
# Members of the vendor's other API for Gemini, which this one does not know.
NOT_HERE = {"store", "continuationToken", "generateContentRequest"}
# Flags of Claude's API that work here; any other fails the request.
BETAS = {
    "computer-use-2025-01-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "fine-grained-tool-streaming-2025-05-14",
    "interleaved-thinking-2025-05-14",
    "token-counting-2024-11-01",
    "token-efficient-tools-2025-02-19",
    "tool-search-tool-2025-10-19",
    "web-search-2025-03-05",
}
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
STATUS |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}


class Refused(Exception):
    def __init__(self, status, words, details=None):
        error = {"code": status, "message": words, "status": STATUS[status]}
        self.reply = document({"error": {**error, **({"details": details} if details else {})}}, status)


class Vertex(Fake):
    """`identity` knows the tokens."""

    FAULTS = {
        "throttled": Refused(429, "Resource exhausted. Please try again later.").reply,
        "unavailable": Refused(503, "The service is currently unavailable.").reply,
        "forbidden": Refused(403, "Permission 'aiplatform.endpoints.predict' denied on resource.").reply,
    }

    def __init__(self, authority, upstream_url, identity):
        self.behind, self.identity = behind.Behind(upstream_url), identity
        self.project = google.PROJECT
        self.locations = {"global", "us", "eu", "us-east5", "europe-west1"}
        self.publishers = {"google", "anthropic", "mistralai", "meta"}
        self.missing = {"missing"}  # models that are not there
        super().__init__(authority)

    def answer(self, request):
        place = PLACE.fullmatch(request.path)
        try:
            if not place:
                return text("<html><title>Error 404 (Not Found)!!1</title></html>", 404, "text/html")
            self._authorized(request)
            return self._answer(request, place.groups())
        except Refused as refused:
            reply = refused.reply
            if request.path.endswith("/endpoints/openapi/chat/completions"):
                reply = document([json.loads(reply.body)], reply.status)
            return reply

    def _authorized(self, request):
        if not self.identity.refusal(request.bearer):
            return
        words = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other"
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        reason = "ACCESS_TOKEN_TYPE_UNSUPPORTED" if request.bearer else "CREDENTIALS_MISSING"
        raise Refused(401, f"{words} valid authentication credential.", [{"@type": kind, "reason": reason}])

    def _answer(self, request, place):
        project, location, rest = place
        if request.method != "POST" or segment(location) not in self.locations:
            raise Refused(404, "Requested entity was not found.")
        if segment(project) != self.project:
            raise Refused(403, f"Permission denied on resource project {project}.")
        if rest == "endpoints/openapi/chat/completions":
            return self._chat(request)
        model = MODEL.fullmatch(rest)
        if not model or segment(model[1]) not in self.publishers or segment(model[2]) is None:
            raise Refused(404, "Requested entity was not found.")
        publisher, name, verb = segment(model[1]), segment(model[2]), model[3]
        if name in self.missing:
            raise Refused(404, f"Publisher Model `{rest.partition(':')[0]}` was not found or you have no access to it.")
        if publisher == "google":
            return self._gemini(request, name, verb)
        if verb not in ("rawPredict", "streamRawPredict"):
            raise Refused(400, f"{verb} is not supported by this model.")
        streams = verb == "streamRawPredict"
        if publisher == "anthropic":
            return self._claude(request, name, streams)
        self._matches(request.json, streams)
        return self.behind.post("/v1/chat/completions", {**request.json, "model": name}).reply()

    def _gemini(self, request, name, verb):
        body = request.json
        if verb not in GEMINI:
            raise Refused(404, f"{verb} is not a method of models.")
        if verb == "predict":
            return self._predict(name, body)
        if unknown := NOT_HERE & set(body):
            raise Refused(400, f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.')
        if verb == "countTokens":  # the model may stand in the body too
            body = {member: value for member, value in body.items() if member != "model"}
        query = request.target.partition("?")[2]
        answer = self.behind.post(f"/v1beta/models/{name}:{verb}{'?' if query else ''}{query}", body)
        return answer.reply()

    def _predict(self, name, body):
        """Embeddings of the models that have no `embedContent`."""
        if set(body) - {"instances", "parameters"} or not body.get("instances"):
            raise Refused(400, "Invalid value at 'instances': at least one is expected.")
        dimension = body.get("parameters", {}).get("outputDimensionality")
        requests = []
        for instance in body["instances"]:
            if set(instance) - {"content", "task_type", "title"} or not isinstance(instance.get("content"), str):
                raise Refused(400, "The text content is empty or of a wrong type.")
            one = {"model": f"models/{name}", "content": {"parts": [{"text": instance["content"]}]}}
            requests.append({**one, "outputDimensionality": dimension} if dimension else one)
        answer = self.behind.post(f"/v1beta/models/{name}:batchEmbedContents", {"requests": requests})
        if answer.status != 200:
            return answer.reply()
        predictions = []
        for instance, made in zip(body["instances"], answer.json["embeddings"], strict=True):
            statistics = {"truncated": False, "token_count": len(instance["content"].split())}
            predictions.append({"embeddings": {"values": made["values"], "statistics": statistics}})
        characters = sum(len(instance["content"]) for instance in body["instances"])
        return document({"predictions": predictions, "metadata": {"billableCharacterCount": characters}})

    def _claude(self, request, name, streams):
        body = dict(request.json)
        version = VERSIONS.get(body.pop("anthropic_version", None))
        if not version:
            words = "anthropic_version: Field required, or not a version of this service"
            return _claude_error(400, "invalid_request_error", words)
        counting = name == "count-tokens"
        if counting and not streams:
            if "model" not in body:
                return _claude_error(400, "invalid_request_error", "model: Field required")
            path = "/v1/messages/count_tokens"
        else:
            if "model" in body:
                return _claude_error(400, "invalid_request_error", "model: Extra inputs are not permitted")
            self._matches(body, streams)
            path, body["model"] = "/v1/messages", name
        headers = {"anthropic-version": version}
        if betas := request.headers.get("anthropic-beta"):
            if unknown := {flag.strip() for flag in betas.split(",")} - BETAS:
                words = f"Unexpected value(s) `{'`, `'.join(sorted(unknown))}` for the `anthropic-beta` header."
                return _claude_error(400, "invalid_request_error", words)
            headers["anthropic-beta"] = betas
        if any(source.get("type") == "url" for source in _sources(body)):
            return _claude_error(400, "invalid_request_error", "URL sources are not supported")
        return self.behind.post(path, body, headers).reply()

    def _matches(self, body, streams):
        if bool(body.get("stream", False)) != streams:
            verb = "streamRawPredict" if streams else "rawPredict"
            raise Refused(400, f"stream must be {str(streams).lower()} for {verb}.")

    def _chat(self, request):
        model = request.json.get("model", "")
        publisher, slash, name = model.partition("/")
        if not slash or segment(name) is None or publisher not in self.publishers or name in self.missing:
            raise Refused(404, f"Publisher Model `{model}` was not found or your project does not have access to it.")
        answer = self.behind.post("/v1/chat/completions", request.body)
        if answer.status == 200:
            return answer.reply()
        error = answer.json.get("error", {})
        said = {"code": answer.status, "message": error.get("message"), "status": STATUS.get(answer.status, "UNKNOWN")}
        return document([{"error": said}], answer.status, **answer.about)


def _claude_error(status, kind, words):
    return document({"type": "error", "error": {"type": kind, "message": words}}, status)


def _sources(body):
    """Where images and documents come from, tool results included."""
    messages = [m.get("content") for m in body.get("messages", ()) if isinstance(m, dict)]
    waiting = [block for content in messages if isinstance(content, list) for block in content]
    while waiting:
        block = waiting.pop()
        if isinstance(block, dict):
            if isinstance(block.get("source"), dict):
                yield block["source"]
            if isinstance(block.get("content"), list):
                waiting += block["content"]
