"""docs/clients.md says which versions were run: the ones that are pinned here."""

import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent
PAGE = (HERE / "../../docs/clients.md").read_text()


def test_the_page_names_the_versions_that_are_run():
    sdks = re.findall(r"^(?!pytest)(.+)==(.+)$", (HERE / "requirements.in").read_text(), re.MULTILINE)
    webui = re.findall(r"^(open-webui)==(.+)$", (HERE / "open_webui/requirements.txt").read_text(), re.MULTILINE)
    npm = [json.loads((HERE / folder / "package.json").read_text())["dependencies"] for folder in ("agents", "node")]
    pinned = [*sdks, *webui, *npm[0].items(), *npm[1].items()]
    # What the SDKs of Node take schemas from, and what judges a fake alone.
    pinned = [(name, version) for name, version in pinned if name not in ("zod", "azure-identity")]
    assert len(pinned) == 20
    assert [f"{name} {version}" for name, version in pinned if version not in PAGE] == []
