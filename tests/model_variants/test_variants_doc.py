"""The pages about variants are those that the variants themselves would write today."""

from __future__ import annotations

import runpy
from pathlib import Path

from model_variants.registry import load_variants

ROOT = Path(__file__).resolve().parents[2]


def test_every_variant_has_its_page_and_it_is_up_to_date() -> None:
    pages = runpy.run_path(str(ROOT / "scripts" / "variants_doc.py"))["pages"]()
    folder = ROOT / "docs" / "variants"
    assert {path.name for path in folder.iterdir()} == set(pages) == {"README.md", *(f"{name}.md" for name in load_variants([]))}
    for name, text in pages.items():
        assert (folder / name).read_text() == text, "run scripts/variants_doc.py"
        assert name == "README.md" or ("## As a " in text and "## How it is probed" in text), f"{name} shows no command"
