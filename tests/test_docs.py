"""The documents that promise something a test can check."""

import re
import tomllib
from pathlib import Path

import pytest

from parley.config import load
from parley.config import settings_of as settings
from parley.server import configuration_model, configure

ROOT = Path(__file__).parent.parent
CONFIGURATION = ROOT / "docs" / "operate" / "configuration.md"
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_every_setting_is_documented_with_its_default():
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \|", CONFIGURATION.read_text(), re.MULTILINE)
    documented = {key: default for keys, default in rows for key in re.findall(r"`(\w+)`", keys)}

    for path, default in settings(configuration_model()).items():
        key = path.rpartition(".")[2]
        assert key in documented, f"{path} is not in {CONFIGURATION.name}"
        if isinstance(default, bool | int | float):
            assert documented[key] == f"{default:g}" if isinstance(default, float) else str(default).lower(), path


def test_no_setting_is_documented_that_does_not_exist():
    rows = re.findall(r"^\| (`.+?`) \| .+? \|", CONFIGURATION.read_text(), re.MULTILINE)
    known = {path.rpartition(".")[2] for path in settings(configuration_model())}

    assert {key for keys in rows for key in re.findall(r"`(\w+)`", keys)} <= known


def test_the_example_configuration_is_accepted():
    (example,) = re.findall(r"## An example\n\n```toml\n(.+?)```", CONFIGURATION.read_text(), re.DOTALL)

    read = tomllib.loads(example)

    assert configure(environ={}, flags=read).media.announce == ("203.0.113.7",)
    assert load(configuration_model(), environ={}, flags=read)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_documents_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_source_file_a_document_names_exists(page):
    for name in re.findall(r"`((?:src|engine|tests|console|tools|docs|examples)/[\w./-]+)`", page.read_text()):
        if "static" not in name and not name.startswith("console/node_modules"):
            assert (ROOT / name).exists(), f"{page.name} names {name}, which is not there"
