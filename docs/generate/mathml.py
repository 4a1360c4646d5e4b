"""Hook of MkDocs: formulas become MathML, which browsers draw without scripts or a network."""

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, page: object, **_: object) -> str:
    """The page with every formula converted."""

    def converted(match: re.Match[str]) -> str:
        kind, formula = match[1], html.unescape(match[2]).strip()
        mathml = convert(formula, display="block" if kind == "div" else "inline")
        if unknown := re.search(r"\\[A-Za-z]+", mathml):
            raise PluginError(f"{page}: {unknown[0]} is not converted to MathML: use another command.")
        return f'<{kind} class="arithmatex">{mathml}</{kind}>'

    return FORMULA.sub(converted, content)
