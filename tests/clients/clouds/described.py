"""Checks a document against a service's description, as botocore has it: what it does not know is refused."""

import base64
import binascii
import functools
import re

from botocore.loaders import create_loader
from botocore.model import ServiceModel


class Illegal(Exception):
    """The service's words for a document that it does not take."""


@functools.cache
def runtime():
    return ServiceModel(create_loader().load_service_model("bedrock-runtime", "service-2"))


def check(document, shape_name):
    """The members that are in the path or in headers are no part of the document."""
    _structure(document, runtime().shape_for(shape_name), "")


def _check(value, shape, at):
    kinds = {"structure": _structure, "list": _list, "map": _map, "string": _string, "blob": _blob}
    if shape.type_name in kinds:
        return kinds[shape.type_name](value, shape, at)
    if shape.type_name == "boolean":
        legal = isinstance(value, bool)
    else:
        whole = shape.type_name in ("integer", "long")
        legal = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        legal = legal and shape.metadata.get("min", value) <= value <= shape.metadata.get("max", value)
    if not legal:
        raise Illegal(f"Value '{value}' at '{at}' failed to satisfy constraint: {shape.type_name} {shape.metadata}")


def _structure(value, shape, at):
    if getattr(shape, "is_document_type", False):
        return
    if not isinstance(value, dict):
        raise Illegal(f"Malformed input request: #{at}: expected type: JSONObject, found: {type(value).__name__}")
    known = {name: member for name, member in shape.members.items() if "location" not in member.serialization}
    if unknown := set(value) - set(known):
        raise Illegal(f"Malformed input request: #{at}: extraneous key [{min(unknown)}] is not permitted")
    there = {name: member for name, member in value.items() if member is not None}
    if getattr(shape, "is_tagged_union", False) and len(there) != 1:
        raise Illegal(f"The {shape.name} object at {at} must set one of the following keys: {', '.join(known)}.")
    if missing := set(shape.required_members) & set(known) - set(there):
        raise Illegal(f"Value null at '{at}.{min(missing)}' failed to satisfy constraint: Member must not be null")
    for name, member in there.items():
        _check(member, known[name], f"{at}.{name}".lstrip("."))


def _sized(length, shape, at):
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", length)
    if not low <= length <= high:
        words = f"Member must have length between {low} and {high}"
        raise Illegal(f"Value at '{at}' failed to satisfy constraint: {words}")


def _list(value, shape, at):
    if not isinstance(value, list):
        raise Illegal(f"Malformed input request: #{at}: expected type: JSONArray, found: {type(value).__name__}")
    _sized(len(value), shape, at)
    for number, member in enumerate(value):
        _check(member, shape.member, f"{at}.{number}")


def _map(value, shape, at):
    if not isinstance(value, dict):
        raise Illegal(f"Malformed input request: #{at}: expected type: JSONObject, found: {type(value).__name__}")
    _sized(len(value), shape, at)
    for name, member in value.items():
        _check(name, shape.key, f"{at}.key")
        _check(member, shape.value, f"{at}.{name}")


def _string(value, shape, at):
    if not isinstance(value, str):
        raise Illegal(f"Malformed input request: #{at}: expected type: String, found: {type(value).__name__}")
    _sized(len(value), shape, at)
    if shape.enum and value not in shape.enum:
        words = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        raise Illegal(f"Value '{value}' at '{at}' failed to satisfy constraint: {words}")
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        words = f"Member must satisfy regular expression pattern: {pattern}"
        raise Illegal(f"Value '{value}' at '{at}' failed to satisfy constraint: {words}")


def _blob(value, shape, at):
    try:
        decoded = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except binascii.Error:
        decoded = None
    if decoded is None:
        raise Illegal(f"Malformed input request: #{at}: base64 is expected")
    _sized(len(decoded), shape, at)
