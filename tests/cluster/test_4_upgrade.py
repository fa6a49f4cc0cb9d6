"""An upgrade that cannot work leaves what works in place; rollback repairs; uninstall keeps what people wrote."""

import time

import pytest

from kube import CHART, NAMESPACE, RELEASE, Refused, run_job, until


def test_an_image_that_does_not_exist_stops_the_upgrade_and_nothing_else(kube, quickstart):
    with pytest.raises(Refused):
        kube.helm("upgrade", RELEASE, CHART, "--namespace", NAMESPACE, "--reuse-values", "--wait", "--timeout", "15s",
                  "--set", "dataPlane.image.tag=does-not-exist", "--set", "dataPlane.image.pullPolicy=Never")
    waiting = [
        status["state"]["waiting"]["reason"]
        for pod in kube.pods("data-plane")
        for status in pod["status"].get("containerStatuses", [])
        if "waiting" in status["state"]
    ]
    assert "ErrImageNeverPull" in waiting
    run_job(kube, "during-failed-upgrade", "default", "sdks.py", ["hello"], "quickstart-routeapi-token")


def test_rollback_repairs(kube, quickstart):
    kube.helm("rollback", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m")
    images = {pod["spec"]["containers"][0]["image"] for pod in kube.pods("data-plane")}
    assert all(not image.endswith("does-not-exist") for image in images)
    run_job(kube, "after-rollback", "default", "sdks.py", ["hello"], "quickstart-routeapi-token")


def test_uninstall_keeps_objects_and_a_new_install_takes_them_up(kube, quickstart, figures):
    kube.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m")
    until("the end of all pods", lambda: not kube.pods("operator") and not kube.pods("data-plane"))
    assert kube.get("apitoken", "quickstart", namespace="default")["spec"]["models"] == ["*"]
    key = kube.get("secret", "quickstart-routeapi-token", namespace="default")["data"]["token"]
    started = time.monotonic()
    kube.helm("install", RELEASE, CHART, "--namespace", NAMESPACE, "--wait", "--timeout", "3m")
    figures["helm install where a release was before"] = f"{time.monotonic() - started:.1f} s"
    kube.wait("default", "condition=Ready", "airoute/hello", "apitoken/quickstart")
    assert kube.get("secret", "quickstart-routeapi-token", namespace="default")["data"]["token"] == key
    run_job(kube, "after-reinstall", "default", "sdks.py", ["hello"], "quickstart-routeapi-token")
