"""Frames of `application/vnd.amazon.eventstream`, written by hand: botocore's reader judges them."""

import base64
import json
import struct
import zlib


def frame(headers, payload):
    """A message: its headers are strings (type 7)."""
    encoded = b""
    for name, value in headers.items():
        name, value = name.encode(), value.encode()
        encoded += struct.pack(">B", len(name)) + name + struct.pack(">BH", 7, len(value)) + value
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + encoded + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _json(document):
    return json.dumps(document, ensure_ascii=False).encode()


def event(kind, document):
    """Padded, as the service does it against the measuring of lengths."""
    document = {**document, "p": "abcdefghijklmnopqrstuvwxyz"[: 1 + len(kind) % 26]}
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, _json(document))


def chunk(data):
    """An event of the vendor's own API."""
    return event("chunk", {"bytes": base64.b64encode(data).decode()})


def exception(kind, words, **more):
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, _json({"message": words, **more}))


def error(code, words):
    """An error that the service's description does not foresee; it has no payload."""
    return frame({":error-code": code, ":error-message": words, ":message-type": "error"}, b"")


def bad_prelude():
    whole = bytearray(event("messageStart", {"role": "assistant"}))
    whole[8] ^= 1
    return bytes(whole)


def bad_crc():
    whole = bytearray(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x"}}))
    whole[-1] ^= 1
    return bytes(whole)


def huge():
    """The beginning of a frame that says it is 4 GiB long; its checksum is right."""
    prelude = struct.pack(">II", 0xFFFF_FFFF, 64)
    return prelude + struct.pack(">I", zlib.crc32(prelude)) + b"x" * 64
