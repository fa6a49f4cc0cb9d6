"""The rights that the chart grants are those that were used in all that went before: not one more, not one less."""

import rights
from conftest import CHANGED

# Used only where the watch is behind what the operator itself has just written, which not every run sees.
SOMETIMES = {"get apitokens.routeapi.dev in the cluster"}


def test_no_right_was_missing(kube, readable_keys, node):
    assert rights.refused(node.audit, rights.OPERATOR, node.starting) == []


def test_no_right_is_too_much(kube, readable_keys, node, figures):
    granted = rights.granted(kube, CHANGED)
    assert granted
    unused = sorted(map(str, rights.never_used(granted, rights.used(node.audit, rights.OPERATOR))))
    figures["verbs granted to the operator"] = len(granted)
    figures["granted but never used"] = ", ".join(unused) or "none"
    assert not set(unused) - SOMETIMES


def test_data_planes_asked_the_api_server_for_nothing(kube, readable_keys, node):
    assert rights.used(node.audit, rights.DATA_PLANE) == set()
