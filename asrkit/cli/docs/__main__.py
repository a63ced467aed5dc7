"""`python -m asrkit.cli.docs`: write man/ and completions/ of this checkout anew."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import asrkit
from asrkit.cli.docs.completion import SHELLS, script
from asrkit.cli.docs.man import man_pages
from asrkit.cli.docs.tree import command_tree

ROOT = Path(asrkit.__file__).parent.parent


def generated() -> dict[str, str]:
    """What is generated: texts by their paths in the checkout."""
    tree = command_tree()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.search(rf"^## \[{re.escape(asrkit.__version__)}\] - (\S+)$", changelog, re.M)
    if released is None:
        raise SystemExit(f"CHANGELOG.md has no date of {asrkit.__version__}")
    pages = man_pages(tree, released[1])
    return {f"man/{name}": page for name, page in pages.items()} | {
        f"completions/{shell}/{name}": script(shell, tree) for shell, name in SHELLS.items()
    }


def main() -> None:
    """Write all, and nothing else into these folders."""
    texts = generated()
    for folder in ("man", "completions"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    for name, text in texts.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(texts)} files")


if __name__ == "__main__":
    main()
