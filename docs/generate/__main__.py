"""`python -m docs.generate` writes the generated pages; tests/test_generated_pages.py fails when one is stale."""

from docs.generate.pages import PAGES, ROOT

for name, text in PAGES.items():
    (ROOT / name).write_text(text(), encoding="utf-8")
    print(f"docs/{name}")
