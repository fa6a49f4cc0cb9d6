"""An app as people write it: the three official SDKs, configured by the environment of its pod and nothing else.

    sdks.py MODEL...

Asks each model through each SDK, whole and streamed, and prints one JSON line per answer. The first says when it came,
by the clock that the kubelet's timestamps are of. Any failure ends it with the SDK's own words.
"""

import json
import sys
import time

import anthropic
import openai
from google import genai

QUESTION = "What do you sell in this shop?"


def openai_chat(model):
    client = openai.OpenAI(max_retries=0)
    message = [{"role": "user", "content": QUESTION}]
    yield client.chat.completions.create(model=model, messages=message).choices[0].message.content
    with client.chat.completions.stream(model=model, messages=message) as stream:
        yield stream.get_final_completion().choices[0].message.content


def anthropic_messages(model):
    client = anthropic.Anthropic(max_retries=0)
    asked = {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": QUESTION}]}
    yield client.messages.create(**asked).content[0].text
    with client.messages.stream(**asked) as stream:
        yield stream.get_final_text()


def gemini(model):
    client = genai.Client()
    yield client.models.generate_content(model=model, contents=QUESTION).text
    chunks = client.models.generate_content_stream(model=model, contents=QUESTION)
    yield "".join(chunk.text or "" for chunk in chunks)


for model in sys.argv[1:]:
    for sdk in (openai_chat, anthropic_messages, gemini):
        for form, text in zip(("whole", "streamed"), sdk(model), strict=True):
            print(json.dumps({"at": time.time(), "model": model, "sdk": sdk.__name__, "form": form, "text": text}))
