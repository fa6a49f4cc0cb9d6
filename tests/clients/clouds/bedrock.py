"""Bedrock's runtime: signed requests or a bearer key, JSON or the event stream.

| path | is |
|---|---|
| `/model/{id}/converse`, `/model/{id}/converse-stream` | answered here |
| `/model/{id}/{invoke,invoke-with-response-stream}` | Claude's own API; `invoke` embeds too (Titan, Cohere, Nova) |
| `/model/{id}/count-tokens` | of either |
| `/openai/v1/chat/completions`, `/openai/v1/responses` | OpenAI's APIs, with their own stream |

Sources: the service's description in botocore; the vendor's pages; boto3 and the vendor's own SDK of Claude, which ask.
"""

import base64
import binascii
import datetime
import json
import re
import threading
import uuid
from urllib.parse import unquote

from . import aws, behind, converse, converse_answer, event_stream, sigv4
from .described import Illegal, runtime
from .server import Cut, Fake, Reply, document

PATH = re.compile(r"/model/([^/]+)/(converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)")
# What the body says of its version, and the version of the vendor's own API that this is.
VERSIONS = {"bedrock-2023-05-31": "2023-06-01", "2026-10-21": "2026-10-21"}
STREAM = "application/vnd.amazon.eventstream"
STATUS = {
    "ValidationException": 400,
    "AccessDeniedException": 403,
    "InvalidSignatureException": 403,
    "IncompleteSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
    "ExpiredTokenException": 403,
    "ResourceNotFoundException": 404,
    "UnknownOperationException": 404,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ThrottlingException": 429,
    "ModelNotReadyException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
NAMES = {400: "ValidationException", 401: "AccessDeniedException", 403: "AccessDeniedException"}
NAMES |= {404: "ResourceNotFoundException", 408: "ModelTimeoutException", 429: "ThrottlingException"}
NAMES |= {500: "InternalServerException", 503: "ServiceUnavailableException", 529: "ServiceUnavailableException"}
# What each of them says of a model that it does not serve, although another does.
NOT_HERE = "This action doesn't support the model that you provided. Try again with a supported text or chat model."
# What embeds, by what its id holds.
EMBEDDING = {"titan": "amazon.titan-embed", "cohere": "cohere.embed", "nova": "amazon.nova-2-multimodal-embeddings"}
INPUT_TYPES = {"search_document", "search_query", "classification", "clustering"}
PURPOSES = {"GENERIC_INDEX", "GENERIC_RETRIEVAL", "TEXT_RETRIEVAL", "CLASSIFICATION", "CLUSTERING"}
# The vendor's word for an error in the middle of a stream, and the exception that it becomes.
IN_STREAM = {
    "overloaded_error": "serviceUnavailableException",
    "rate_limit_error": "throttlingException",
    "invalid_request_error": "validationException",
}


def _refused(name, words, **headers):
    about = {"x_amzn_errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/", **headers}
    return document({"message": words}, STATUS[name], **about)


class Refused(Exception):
    def __init__(self, name, words):
        self.reply = _refused(name, words)


class Bedrock(Fake):
    """`identity` knows the keys of roles; `key` is an API key. `clock` is how far the service's clock is ahead."""

    FAULTS = {
        "throttled": _refused("ThrottlingException", "Too many requests, please wait before trying again."),
        "unavailable": _refused("ServiceUnavailableException", "Bedrock is unable to process your request."),
        "broken": _refused("InternalServerException", "The system encountered an unexpected error."),
        "denied": _refused("AccessDeniedException", "You don't have access to the model with the specified model ID."),
        "not_ready": _refused("ModelNotReadyException", "Model is not ready for inference. Wait and try again."),
        "model_error": _refused("ModelErrorException", "The model returned an error."),
        "slow": _refused("ModelTimeoutException", "Model has timed out in processing the request."),
        # What the control plane says to a request for the runtime.
        "control_plane": document({"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}}),
    }

    def __init__(self, authority, upstream_url, identity):
        self.behind, self.identity = behind.Behind(upstream_url), identity
        self.key = "bedrock-api-key-ZmFrZQ=="
        self.clock = datetime.timedelta()
        self.missing, self.denied = {"anthropic.missing-v1:0"}, {"anthropic.denied-v1:0"}
        self.not_on_route = set()  # (`converse`, `invoke` or `openai`, the model's id)
        self._script, self._break, self._cached, self._count = {}, None, set(), 0
        self._counting = threading.Lock()
        self.truth = None  # the usage of the last answer of Converse
        super().__init__(authority)

    def script(self, **script):
        """How Converse answers from now on: `text`, `pieces`, `parallel_tools`, `no_tools`, `cached_tokens`."""
        self._script = script

    def break_stream(self, how, after=0):
        """What happens to each event stream after so many frames: the name of an exception, or one of

        `error`       a frame of the type `error`
        `bad_prelude`, `bad_crc`  a frame with a wrong checksum
        `huge`        the beginning of a frame of 4 GiB
        `end`         nothing more, in order
        `cut`         the connection is closed
        None          nothing
        """
        self._break = how and (how, after)

    def answer(self, request):
        try:
            self._authorized(request)
            reply = self._answer(request)
        except Refused as refused:
            reply = refused.reply
        except sigv4.Refused as refused:
            reply = _refused(refused.name, refused.words)
        except Illegal as illegal:
            reply = _refused("ValidationException", str(illegal))
        return reply.having(**{"x-amzn-requestid": str(uuid.uuid4())})

    def _authorized(self, request):
        if request.bearer is not None:
            if request.bearer != self.key:
                raise Refused("AccessDeniedException", "Authentication failed: Please make sure your API Key is valid.")
            return None
        now = datetime.datetime.now(datetime.timezone.utc) + self.clock
        return sigv4.verify(request, self.identity.find, "bedrock", aws.REGION, now)

    def _answer(self, request):
        path = PATH.fullmatch(request.path)
        if request.method == "POST" and request.path in ("/openai/v1/chat/completions", "/openai/v1/responses"):
            return self._openai(request)
        if request.method != "POST" or not path:
            raise Refused("UnknownOperationException", f"There is no {request.method} {request.path}")
        model, operation = unquote(path[1]), path[2]
        self._known(model, "converse" if operation.startswith("converse") else "invoke")
        try:
            body = json.loads(request.body)
        except ValueError:
            raise Refused("ValidationException", "Malformed input request, please reformat your input.") from None
        match operation:
            case "converse" | "converse-stream":
                return self._converse(model, body, operation == "converse-stream")
            case "count-tokens":
                return self._count_tokens(model, body)
        if "anthropic." in model:
            return self._claude(model, body, operation != "invoke")
        return self._embed(model, body)

    def _known(self, model, route):
        shape = runtime().shape_for("ConversationalModelId")
        if not re.fullmatch(shape.metadata["pattern"], model) or model in self.missing:
            raise Refused("ValidationException", "The provided model identifier is invalid.")
        if model in self.denied:
            raise Refused("AccessDeniedException", "You don't have access to the model with the specified model ID.")
        if (route, model) in self.not_on_route:
            raise Refused("ValidationException", NOT_HERE)

    def _number(self):
        with self._counting:
            self._count += 1
            return self._count

    def _converse(self, model, body, streams):
        ask = converse.ask(body, "ConverseStreamRequest" if streams else "ConverseRequest", model)
        answer = converse_answer.decide(self._number(), ask, body, self._script, self._cached)
        self.truth = answer.usage
        if not streams:
            return document(converse_answer.whole(answer, converse.sign))
        frames = (event_stream.event(*event) for event in converse_answer.events(answer, converse.sign))
        return Reply(200, self._broken(frames), {"content-type": STREAM})

    def _broken(self, frames):
        how, after = self._break or (None, None)
        for number, frame in enumerate(frames):
            if number == after:
                break
            yield frame
        else:
            return
        match how:
            case "error":
                yield event_stream.error("InternalFailure", "An internal error occurred.")
            case "bad_prelude":
                yield event_stream.bad_prelude()
            case "bad_crc":
                yield event_stream.bad_crc()
            case "huge":
                yield event_stream.huge()
            case "cut":
                raise Cut
            case "modelStreamErrorException":
                more = {"originalStatusCode": 529, "originalMessage": "Overloaded"}
                yield event_stream.exception(how, "The model could not go on.", **more)
            case exception if exception != "end":
                yield event_stream.exception(exception, f"This is a {exception}.")

    def _message(self, model, body):
        """Claude's request as the vendor's own API has it: the body, and the headers."""
        if not isinstance(body, dict):
            raise Illegal("Malformed input request: #: expected type: JSONObject")
        for member in ("model", "stream"):
            if member in body:
                raise Illegal(f"{member}: Extra inputs are not permitted")
        body = dict(body)
        version = VERSIONS.get(body.pop("anthropic_version", None))
        if not version:
            raise Illegal("anthropic_version: Field required, or not a version of this service")
        headers = {"anthropic-version": version}
        if "anthropic_beta" in body:
            betas = body.pop("anthropic_beta")
            converse.flags(betas)
            headers["anthropic-beta"] = ",".join(betas)
        return {**body, "model": model}, headers

    def _claude(self, model, body, streams):
        message, headers = self._message(model, body)
        answer = self.behind.post("/v1/messages", {**message, "stream": streams}, headers)
        if answer.body is None:
            return Reply(200, self._broken(_chunks(answer.events)), {"content-type": STREAM})
        if answer.status != 200:
            return self._failed(answer)
        usage = answer.json.get("usage", {})
        about = {"x_amzn_bedrock_input_token_count": str(usage.get("input_tokens", 0))}
        about["x_amzn_bedrock_output_token_count"] = str(usage.get("output_tokens", 0))
        return answer.reply(**about)

    def _failed(self, answer):
        try:
            words = answer.json["error"]["message"]
        except (ValueError, KeyError, TypeError):
            words = "The model returned an error."
        wait = {"retry-after": answer.headers["retry-after"]} if "retry-after" in answer.headers else {}
        return _refused(NAMES.get(answer.status, "ModelErrorException"), words, **wait)

    def _count_tokens(self, model, body):
        converse.check(body, "CountTokensRequest")
        if asked := body["input"].get("converse"):
            return document({"inputTokens": converse.ask(asked, "ConverseTokensRequest", model).tokens})
        try:
            inner = json.loads(base64.b64decode(body["input"]["invokeModel"]["body"], validate=True))
        except (ValueError, binascii.Error):
            raise Illegal("Malformed input request: #input.invokeModel.body: a JSON document is expected") from None
        message, headers = self._message(model, inner)
        answer = self.behind.post("/v1/messages/count_tokens", message, headers)
        return document({"inputTokens": answer.json["input_tokens"]}) if answer.status == 200 else self._failed(answer)

    def _embed(self, model, body):
        family = next((family for family, begin in EMBEDDING.items() if begin in model), None)
        if family is None:
            raise Refused("ValidationException", NOT_HERE)
        texts, dimensions = _asked_vectors(family, model, body)
        asked = {"model": model, "input": texts} | ({"dimensions": dimensions} if dimensions else {})
        answer = self.behind.post("/v1/embeddings", asked)
        if answer.status != 200:
            return self._failed(answer)
        vectors, tokens = [item["embedding"] for item in answer.json["data"]], answer.json["usage"]["prompt_tokens"]
        match family:
            case "titan":
                types = {"embeddingsByType": {"float": vectors[0]}} if "-v2" in model else {}
                made = {"embedding": vectors[0], **types, "inputTextTokenCount": tokens}
            case "nova":
                made = {"embeddings": [{"embeddingType": "TEXT", "embedding": vectors[0]}]}
            case "cohere":
                by_type = {"float": vectors} if "embedding_types" in body else vectors
                kind = "embeddings_by_type" if "embedding_types" in body else "embeddings_floats"
                made = {"id": str(uuid.uuid4()), "embeddings": by_type, "texts": texts, "response_type": kind}
        return document(made, x_amzn_bedrock_input_token_count=str(tokens))

    def _openai(self, request):
        model = (request.json or {}).get("model", "")
        if ("openai", model) in self.not_on_route or model in self.missing:
            error = {"message": f"The model '{model}' isn't supported on this route", "type": "invalid_request_error"}
            return document({"error": {**error, "code": "model_not_found", "param": "model"}}, 404)
        return self.behind.post(request.path.removeprefix("/openai"), request.body).reply()


def _members(body, needed, optional, where="#"):
    if not isinstance(body, dict) or body.keys() - needed - optional or needed - body.keys():
        wrong = "object" if not isinstance(body, dict) else min(body.keys() - needed - optional or needed - body.keys())
        raise Illegal(f"Malformed input request: {where}: key [{wrong}] is not permitted or required")


def _asked_vectors(family, model, body):
    """The texts of a body, by its vendor's rules, and how many members their vectors are to have."""
    match family:
        case "titan":
            second = "-v2" in model
            _members(body, {"inputText"}, {"dimensions", "normalize", "embeddingTypes"} if second else set())
            texts, dimensions, known = [body["inputText"]], body.get("dimensions"), {256, 512, 1024}
        case "nova":
            _members(body, {"taskType", "singleEmbeddingParams"}, {"schemaVersion"})
            asked = body["singleEmbeddingParams"]
            _members(asked, {"embeddingPurpose", "text"}, {"embeddingDimension"}, "#/singleEmbeddingParams")
            _members(asked["text"], {"truncationMode", "value"}, set(), "#/singleEmbeddingParams/text")
            if asked["embeddingPurpose"] not in PURPOSES:
                raise Illegal("Malformed input request: #/singleEmbeddingParams/embeddingPurpose: not a valid value")
            texts, dimensions, known = [asked["text"]["value"]], asked.get("embeddingDimension"), {256, 384, 1024, 3072}
        case "cohere":
            fourth = "embed-v4" in model
            optional = {"truncate", "embedding_types"} | ({"output_dimension"} if fourth else set())
            _members(body, {"texts", "input_type"}, optional)
            if body["input_type"] not in INPUT_TYPES or not 0 < len(body["texts"]) <= 96:
                raise Illegal("Malformed input request: #/texts: 1 to 96, of a valid input_type")
            texts, dimensions, known = body["texts"], body.get("output_dimension"), {256, 512, 1024, 1536}
    if dimensions is not None and dimensions not in known:
        raise Illegal(f"Malformed input request: {dimensions} is not one of {sorted(known)}")
    if not all(isinstance(text, str) and text for text in texts):
        raise Illegal("Malformed input request: expected minLength: 1")
    return texts, dimensions


def _chunks(events):
    """The vendor's events in frames; its errors become exceptions, its end carries the count of tokens."""
    counted = {}
    for event in events:
        said = behind.data(event)
        if said is None:
            continue
        counted |= said.get("usage") or said.get("message", {}).get("usage") or {}
        if said["type"] == "error":
            error = said["error"]
            yield event_stream.exception(IN_STREAM.get(error["type"], "internalServerException"), error["message"])
            return
        if said["type"] == "message_stop":
            counts = {f"{kind}TokenCount": counted.get(f"{kind}_tokens", 0) for kind in ("input", "output")}
            counts |= {"invocationLatency": 7, "firstByteLatency": 3}
            said = {**said, "amazon-bedrock-invocationMetrics": counts}
        yield event_stream.chunk(json.dumps(said, ensure_ascii=False).encode())
