"""A rendered chat with images to token ids: each image's place is filled with as many tokens as it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from dgengine.errors import ChatTemplateError
from dgengine.vision.spans import ImageSpan, ImageTokens, Picture, parts_of

# A stand-in for an image's token that somebody has typed, while the template is rendered: private-use characters.
_TYPED: Final = "\ue0f0typed\ue0f1"


def pictures_of(messages: Sequence[Mapping[str, Any]]) -> list[Picture]:
    """The images of a chat, in order."""
    parts = (part for message in messages for part in parts_of(message))
    return [part["picture"] for part in parts if part.get("type") == "image" and "picture" in part]


def for_template(content: Any, tokens: ImageTokens) -> Any:
    """A message's content as the template may see it: no pictures, and no token of an image that somebody has typed."""
    if isinstance(content, str):
        return content.replace(tokens.text, _TYPED)
    if not isinstance(content, list):
        return content
    return [_part(part, tokens) if isinstance(part, Mapping) else part for part in content]


def _part(part: Mapping[str, Any], tokens: ImageTokens) -> dict[str, Any]:
    kept = {key: value for key, value in part.items() if key not in ("picture", "path")}
    if isinstance(kept.get("text"), str):
        kept["text"] = kept["text"].replace(tokens.text, _TYPED)
    return kept


class ImageWriter:
    """Token ids of a chat's rendered text, in which each token of an image stands for one of its pictures.

    Attributes:
        ids: the tokens so far.
        spans: the images among them.
    """

    def __init__(
        self,
        tokens: ImageTokens,
        pictures: Sequence[Picture],
        encode: Callable[[str], list[int]],
        spell_out: Callable[[str], list[int]],
    ) -> None:
        """Begins a prompt.

        Args:
            tokens: that images are written with.
            pictures: of the chat, in order.
            encode: rendered text to ids; what looks like a control token is one.
            spell_out: the same for what somebody has typed, in which it is not.
        """
        self.ids: list[int] = []
        self.spans: list[ImageSpan] = []
        self._tokens = tokens
        self._pictures: Iterator[Picture] = iter(pictures)
        self._encode = encode
        self._spell_out = spell_out

    def text(self, rendered: str) -> None:
        """Adds text, with the images in it.

        Raises:
            ChatTemplateError: more images have a place in it than there are.
        """
        first, *others = rendered.split(self._tokens.text)
        self._plain(first)
        for other in others:
            picture = next(self._pictures, None)
            if picture is None:
                raise ChatTemplateError("The chat template makes room for more images than the chat has.")
            self._image(picture)
            self._plain(other)

    def close(self) -> None:
        """The prompt is complete.

        Raises:
            ChatTemplateError: some image has had no place.
        """
        if next(self._pictures, None) is not None:
            raise ChatTemplateError("The chat template has no place for images.")

    def _image(self, picture: Picture) -> None:
        self.spans.append(ImageSpan(len(self.ids) + 1, picture.count, picture.digest, picture))
        self.ids += self._tokens.written(picture.count)

    def _plain(self, text: str) -> None:
        first, *others = text.split(_TYPED)
        self.ids += self._encode(first)
        for other in others:
            self.ids += self._spell_out(self._tokens.text) + self._encode(other)
