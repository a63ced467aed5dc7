"""The site: every command, option, page and public name has its place, and no link is broken."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import asrkit

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location("site_build", ROOT / ".ci" / "site" / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)

PAGES = build.pages()
DOCUMENTS = [ROOT / name for name in ("README.md", *build.GUIDES, *build.CARDS)]


def anchors(text: str) -> set[str]:
    """What links to headings end with, as GitHub makes it."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")

    for link, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        if not link.startswith("https://"):
            target = document.parent / link if link else document
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), anchor


def test_every_public_name_is_on_a_page():
    names = {name for group in build.API.values() for name in group.get("asrkit", "").split()}

    assert names == set(asrkit.__all__) - {"__version__"}


def test_every_command_has_a_page_with_all_its_options():
    for command in build.command_tree().walk():
        page = PAGES[f"cli/{'-'.join(command.path)}.md"]
        for place in (*command.options, *command.operands):
            assert build._option(place) in page
            for name in place.names:
                assert re.search(rf"^```{{option}} .*(?<!\S){name}(?![\w-])", page, re.MULTILINE)


def test_text_of_an_option_is_not_taken_for_markup():
    assert build._text("*a* [b](c) `d` x_y <e>") == r"\*a\* \[b\](c) \`d\` x\_y \<e\>"


def test_every_page_is_in_the_contents():
    contents = re.findall(r"^[\w/.-]+\.md$", PAGES["index.md"], re.MULTILINE)

    assert sorted(contents) == sorted(PAGES.keys() - {"index.md"})


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("furo", reason="the extra `docs` is not installed")

    subprocess.run([sys.executable, ROOT / ".ci/site/build.py", tmp_path], check=True)

    transcribe = (tmp_path / "cli" / "asrkit-transcribe.html").read_text(encoding="utf-8")
    assert "cmdoption-asrkit-transcribe-batch-size" in transcribe
