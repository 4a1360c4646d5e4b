"""The generated files of docs/, and how each is made."""

from pathlib import Path

from docs.generate import algorithms, formats, imports, keys, trl

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "algorithms.md": algorithms.page,
    "formats.md": formats.page,
    "keys.md": keys.page,
    "trl_keys.md": trl.page,
    "imports.svg": imports.picture,
}
