"""The official SDKs behind one small surface, so that one test is run for each of them.

A `Driver` holds a conversation in its SDK's own types. `send` returns an `Answer` whichever way it came. Everything that
checks a stream is the SDK's own accumulator, not ours: what it cannot put together is a failure.
"""

import base64
import dataclasses
import json

import anthropic
import openai
from google import genai
from google.genai import errors, types

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WEATHER = {
    "name": "get_weather",
    "description": "The weather at a place",
    "schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 0},
            "metric": {"type": "boolean", "default": False},
        },
        "required": ["city"],
    },
}
TIME = {
    "name": "get_time",
    "description": "The time at a place",
    "schema": {"type": "object", "properties": {"zone": {"type": "string", "enum": ["UTC", "CET"]}}},
}


@dataclasses.dataclass
class Call:
    id: str | None
    name: str
    arguments: dict


@dataclasses.dataclass
class Answer:
    text: str
    calls: list[Call]
    finish: str  # stop, length, tools
    input_tokens: int | None
    output_tokens: int | None
    pieces: int  # increments of text that a stream brought
    native: object


class Driver:
    """`root` is the server without any path; `model` the id to name."""

    name = ""
    dialect = ""

    def __init__(self, root, key, model):
        self.root, self.key, self.model = root, key, model
        self.history = []

    def close(self):
        pass

    def user(self, text, images=()):
        raise NotImplementedError

    def results(self, answer, outputs):
        """Appends the answer's calls and their results to the conversation."""
        raise NotImplementedError

    def send(self, stream=False, system=None, tools=(), temperature=None, stop=None, max_tokens=200, parallel=None):
        raise NotImplementedError


class Chat(Driver):
    name, dialect = "openai-chat", "openai"
    errors = openai

    def __init__(self, root, key, model):
        super().__init__(root, key, model)
        self.client = openai.OpenAI(base_url=root + "/v1", api_key=key, max_retries=0)

    def close(self):
        self.client.close()

    def user(self, text, images=()):
        parts = [{"type": "text", "text": text}]
        for mime, data in images:
            url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
        self.history.append({"role": "user", "content": parts if images else text})

    def results(self, answer, outputs):
        self.history.append(answer.native.choices[0].message.model_dump(exclude_none=True))
        for call, output in zip(answer.calls, outputs, strict=True):
            self.history.append({"role": "tool", "tool_call_id": call.id, "content": output})

    def send(self, stream=False, system=None, tools=(), temperature=None, stop=None, max_tokens=200, parallel=None):
        messages = ([{"role": "system", "content": system}] if system else []) + self.history
        options = {"model": self.model, "messages": messages, "max_completion_tokens": max_tokens}
        if tools:
            as_tool = lambda t: {"name": t["name"], "description": t["description"], "parameters": t["schema"]}
            options["tools"] = [{"type": "function", "function": as_tool(t)} for t in tools]
        if parallel is not None:
            options["parallel_tool_calls"] = parallel
        if temperature is not None:
            options["temperature"] = temperature
        if stop:
            options["stop"] = stop
        if not stream:
            return self._answer(self.client.chat.completions.create(**options), 0)
        pieces = 0
        with self.client.chat.completions.stream(**options, stream_options={"include_usage": True}) as events:
            for event in events:
                pieces += event.type == "content.delta"
            try:
                return self._answer(events.get_final_completion(), pieces)
            except openai.LengthFinishReasonError as cut:  # this SDK's way of saying finish_reason "length"
                return self._answer(cut.completion, pieces)

    def _answer(self, native, pieces):
        choice = native.choices[0]
        assert choice.message.role == "assistant" and native.model, native
        made = choice.message.tool_calls or []
        calls = [Call(c.id, c.function.name, json.loads(c.function.arguments)) for c in made]
        finish = {"stop": "stop", "length": "length", "tool_calls": "tools"}[choice.finish_reason]
        usage = native.usage
        counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
        return Answer(choice.message.content or "", calls, finish, *counts, pieces, native)

    def models(self):
        return [model.id for model in self.client.models.list()]

    def embed(self, texts):
        answer = self.client.embeddings.create(model=self.model, input=texts)
        return [list(item.embedding) for item in answer.data], answer.usage.prompt_tokens


class Responses(Driver):
    name, dialect = "openai-responses", "openai"
    errors = openai

    def __init__(self, root, key, model):
        super().__init__(root, key, model)
        self.client = openai.OpenAI(base_url=root + "/v1", api_key=key, max_retries=0)

    def close(self):
        self.client.close()

    def user(self, text, images=()):
        parts = [{"type": "input_text", "text": text}]
        for mime, data in images:
            url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
            parts.append({"type": "input_image", "image_url": url, "detail": "auto"})
        self.history.append({"role": "user", "content": parts})

    def results(self, answer, outputs):
        self.history += [item.model_dump(exclude_none=True) for item in answer.native.output]
        for call, output in zip(answer.calls, outputs, strict=True):
            self.history.append({"type": "function_call_output", "call_id": call.id, "output": output})

    def send(self, stream=False, system=None, tools=(), temperature=None, stop=None, max_tokens=200, parallel=None):
        assert not stop, "Responses has no stop sequences"
        options = {"model": self.model, "input": self.history, "max_output_tokens": max_tokens, "store": False}
        if system:
            options["instructions"] = system
        if tools:
            flat = lambda t: {"name": t["name"], "description": t["description"], "parameters": t["schema"]}
            options["tools"] = [{"type": "function", "strict": False, **flat(t)} for t in tools]
        if parallel is not None:
            options["parallel_tool_calls"] = parallel
        if temperature is not None:
            options["temperature"] = temperature
        if not stream:
            return self._answer(self.client.responses.create(**options), 0)
        pieces, last = 0, None
        with self.client.responses.stream(**options) as events:
            for event in events:
                pieces += event.type == "response.output_text.delta"
                if event.type in ("response.completed", "response.incomplete"):
                    last = event.response
            # Without an end the SDK's own words are raised.
            return self._answer(last or events.get_final_response(), pieces)

    def _answer(self, native, pieces):
        calls = [Call(i.call_id, i.name, json.loads(i.arguments)) for i in native.output if i.type == "function_call"]
        finish = "length" if native.status == "incomplete" else "tools" if calls else "stop"
        usage = native.usage
        return Answer(native.output_text, calls, finish, usage.input_tokens, usage.output_tokens, pieces, native)

    def count(self, text):
        return self.client.responses.input_tokens.count(model=self.model, input=text).input_tokens


class Claude(Driver):
    name, dialect = "anthropic", "anthropic"
    errors = anthropic

    def __init__(self, root, key, model):
        super().__init__(root, key, model)
        self.client = anthropic.Anthropic(base_url=root, api_key=key, max_retries=0)

    def close(self):
        self.client.close()

    def user(self, text, images=()):
        parts = []
        for mime, data in images:
            source = {"type": "base64", "media_type": mime, "data": base64.b64encode(data).decode()}
            parts.append({"type": "image", "source": source})
        self.history.append({"role": "user", "content": [*parts, {"type": "text", "text": text}] if parts else text})

    def results(self, answer, outputs):
        content = [block.model_dump(exclude_none=True) for block in answer.native.content]
        blocks = [
            {"type": "tool_result", "tool_use_id": call.id, "content": output}
            for call, output in zip(answer.calls, outputs, strict=True)
        ]
        self.history += [{"role": "assistant", "content": content}, {"role": "user", "content": blocks}]

    def send(self, stream=False, system=None, tools=(), temperature=None, stop=None, max_tokens=200, parallel=None):
        options = {"model": self.model, "messages": self.history, "max_tokens": max_tokens}
        if system:
            options["system"] = system
        if tools:
            as_tool = lambda t: {"name": t["name"], "description": t["description"], "input_schema": t["schema"]}
            options["tools"] = [as_tool(t) for t in tools]
        if parallel is not None:
            options["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": not parallel}
        if temperature is not None:
            # The SDK of today has no argument for it, and its API version refuses it: callers do this.
            options["extra_body"] = {"temperature": temperature}
            options["extra_headers"] = {"anthropic-version": "2023-06-01"}
        if stop:
            options["stop_sequences"] = stop
        if not stream:
            return self._answer(self.client.messages.create(**options), 0)
        pieces = 0
        with self.client.messages.stream(**options) as events:
            for event in events:
                pieces += event.type == "text"
            return self._answer(events.get_final_message(), pieces)

    def _answer(self, native, pieces):
        assert native.type == "message" and native.role == "assistant" and native.model, native
        text = "".join(block.text for block in native.content if block.type == "text")
        calls = [Call(b.id, b.name, b.input) for b in native.content if b.type == "tool_use"]
        reasons = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tools"}
        usage = native.usage
        cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        counts = (usage.input_tokens + cached, usage.output_tokens)
        return Answer(text, calls, reasons[native.stop_reason], *counts, pieces, native)

    def models(self):
        return [model.id for model in self.client.models.list()]

    def count(self, text):
        messages = [{"role": "user", "content": text}]
        return self.client.messages.count_tokens(model=self.model, messages=messages).input_tokens


class Gemini(Driver):
    name, dialect = "gemini", "gemini"
    errors = errors

    def __init__(self, root, key, model):
        super().__init__(root, key, model)
        retries = types.HttpRetryOptions(attempts=1)
        options = types.HttpOptions(base_url=root, retry_options=retries)
        self.client = genai.Client(api_key=key, http_options=options)

    def close(self):
        self.client.close()

    def user(self, text, images=()):
        parts = [types.Part.from_bytes(data=data, mime_type=mime) for mime, data in images]
        self.history.append(types.Content(role="user", parts=[*parts, types.Part.from_text(text=text)]))

    def results(self, answer, outputs):
        self.history.append(types.Content(role="model", parts=answer.native.candidates[0].content.parts))
        parts = []
        for call, output in zip(answer.calls, outputs, strict=True):
            response = types.FunctionResponse(id=call.id, name=call.name, response={"output": output})
            parts.append(types.Part(function_response=response))
        self.history.append(types.Content(role="user", parts=parts))

    def send(self, stream=False, system=None, tools=(), temperature=None, stop=None, max_tokens=200, parallel=None):
        assert parallel is None, "Gemini has no such switch"
        declared = [
            types.FunctionDeclaration(name=t["name"], description=t["description"], parameters_json_schema=t["schema"])
            for t in tools
        ]
        config = types.GenerateContentConfig(
            system_instruction=system,
            tools=[types.Tool(function_declarations=declared)] if declared else None,
            temperature=temperature,
            stop_sequences=stop,
            max_output_tokens=max_tokens,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        asked = {"model": self.model, "contents": self.history, "config": config}
        if not stream:
            return self._answer(self.client.models.generate_content(**asked), 0)
        chunks = list(self.client.models.generate_content_stream(**asked))
        whole, parts, pieces = chunks[-1], [], 0
        for chunk in chunks:
            for part in (chunk.candidates[0].content.parts or []) if chunk.candidates[0].content else []:
                parts.append(part)
                pieces += bool(part.text)
        whole.candidates[0].content = types.Content(role="model", parts=parts)
        return self._answer(whole, pieces)

    def _answer(self, native, pieces):
        candidate = native.candidates[0]
        parts = candidate.content.parts or []
        calls = [Call(p.function_call.id, p.function_call.name, p.function_call.args) for p in parts if p.function_call]
        finish = {"STOP": "tools" if calls else "stop", "MAX_TOKENS": "length"}[candidate.finish_reason.name]
        usage = native.usage_metadata
        # Thoughts are output too, and are counted apart.
        output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        text = "".join(part.text for part in parts if part.text)
        return Answer(text, calls, finish, usage.prompt_token_count, output, pieces, native)

    def models(self):
        return [model.name.removeprefix("models/") for model in self.client.models.list()]

    def count(self, text):
        return self.client.models.count_tokens(model=self.model, contents=text).total_tokens

    def embed(self, texts):
        answer = self.client.models.embed_content(model=self.model, contents=texts)
        return [item.values for item in answer.embeddings], None


DRIVERS = {driver.name: driver for driver in (Chat, Responses, Claude, Gemini)}


def refusal(driver, status):
    """The exception class that the driver's SDK raises for an HTTP status."""
    if driver.dialect == "gemini":
        return errors.ClientError if status < 500 else errors.ServerError
    known = {
        400: "BadRequestError",
        401: "AuthenticationError",
        403: "PermissionDeniedError",
        404: "NotFoundError",
        429: "RateLimitError",
    }
    return getattr(driver.errors, known.get(status, "InternalServerError"))


def status_of(error):
    return getattr(error, "status_code", None) or getattr(error, "code", None)
