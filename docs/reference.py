"""Makes the reference pages from the code: one entry per public name, one section per verb, and the changelog."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what stands as ``<!-- api -->``, ``<!-- cli -->`` and ``<!-- changelog -->``."""
    if page.file.src_uri == "api.md":
        return markdown.replace("<!-- api -->", api())
    if page.file.src_uri == "cli.md":
        return markdown.replace("<!-- cli -->", cli())
    if page.file.src_uri == "changelog.md":
        return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return markdown


def api() -> str:
    """Return one directive per public name, grouped by the module that it comes from."""
    import dqmroot

    parts = []
    for home, names in dqmroot._HOMES.items():
        parts.append(f"## {home.removeprefix('dqmroot.')}\n")
        for name in names:
            found = getattr(dqmroot, name)
            lines = [f"::: {found.__module__}.{found.__name__}"]
            if isinstance(found, type):
                lines += ["    options:", "      members: true", "      inherited_members: false"]
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def cli() -> str:
    """Return the help of each verb as it is printed."""
    from dqmroot.cli import build_parser

    parser = build_parser()
    (verbs,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    parts = []
    for name, verb in verbs.choices.items():
        out = io.StringIO()
        verb.print_help(out)
        parts.append(f"## {name}\n\n```text\n{out.getvalue().rstrip()}\n```\n")
    return "\n".join(parts)
