"""The colours of code in the editor, from a palette."""

from __future__ import annotations

from typing import Final

from rich.style import Style
from textual.widgets.text_area import TextAreaTheme

from dgchat.themes import Theme

# What Textual's queries call the parts of a text, by the role that they have in a palette.
_ROLES: Final = {
    "primary": "keyword include repeat conditional exception keyword.function keyword.return keyword.operator tag"
    " heading type.builtin json.label toml.type yaml.field css.property",
    "success": "string string.documentation string.special regex.punctuation.bracket inline_code text.literal",
    "accent": "number float boolean constant.builtin json.null link.uri link.label escape",
    "secondary": "comment operator punctuation.bracket punctuation.delimiter punctuation.special heading.marker"
    " list.marker json.error",
}
_BOLD: Final = "class function method heading bold"


def syntax_theme(palette: Theme, number: int) -> TextAreaTheme:
    """The theme of a text area; all that is not syntax is left to the style sheet.

    Args:
        palette: the colours.
        number: makes its name another one than that of the theme before, which Textual asks for.
    """
    styles: dict[str, Style] = {}
    for role, names in _ROLES.items():
        for name in names.split():
            styles[name] = Style(color=palette.colors[role])
    for name in _BOLD.split():
        styles[name] = styles.get(name, Style()) + Style(bold=True)
    styles["comment"] += Style(italic=True)
    styles["italic"] = Style(italic=True)
    return TextAreaTheme(f"dgchat-{palette.name}-{number}", syntax_styles=styles)
