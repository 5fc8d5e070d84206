"""Colours of the syntax, found out for the lines that are seen and no others. Knows no screen."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeAlias

from textual.document._document import DocumentBase

if TYPE_CHECKING:
    from tree_sitter import Node, Query

Highlight: TypeAlias = tuple[int, int | None, str]
_LINES: Final = 64  # that are looked at together


class Highlights(defaultdict[int, list[Highlight]]):
    """For each line its highlights: first byte, end byte or None for the end of the line, and the name."""

    def __init__(self) -> None:
        super().__init__(list)
        self._known: set[int] = set()
        self._document: DocumentBase | None = None
        self._query: Query | None = None

    def restart(self, document: DocumentBase, query: Query | None) -> None:
        """The text is another one; None: there is nothing to be found in it."""
        self.clear()
        self._known.clear()
        self._document, self._query = document, query

    def look_at(self, line: int) -> None:
        """Finds the highlights of a line, and of those around it, unless they are known."""
        part = line // _LINES
        if self._query is None or self._document is None or part in self._known:
            return
        self._known.add(part)
        start, end = part * _LINES, (part + 1) * _LINES
        for name, nodes in self._document.query_syntax_tree(self._query, (start, 0), (end, 0)).items():
            for node in nodes:
                self._take(node, name, start, end)

    def _take(self, node: Node, name: str, start: int, end: int) -> None:
        (first, left), (last, right) = node.start_point, node.end_point
        for line in range(max(first, start), min(last + 1, end)):
            self[line].append((left if line == first else 0, right if line == last else None, name))
