"""Where images stand in a prompt. Knows no tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(slots=True, eq=False)
class Picture:
    """An image that a prompt holds.

    Attributes:
        digest: SHA-256 of its file, in hexadecimal: images that share it are the same.
        count: soft tokens that it takes.
        data: its file.
        name: of the file, for errors.
        patches: what the vision tower reads, from when it is prepared until it is read.
    """

    digest: str
    count: int
    data: bytes = field(repr=False)
    name: str
    patches: Any = field(default=None, repr=False)


class ImageTokens(NamedTuple):
    """The tokens that an image is written with: `begin`, then `image` once for each soft token, then `end`.

    Attributes:
        text: that of `image`, which a chat template writes once in the place of the whole image.
    """

    image: int
    begin: int
    end: int
    text: str = ""

    def written(self, count: int) -> list[int]:
        """The ids of an image of `count` soft tokens."""
        return [self.begin, *[self.image] * count, self.end]


@dataclass(frozen=True, slots=True)
class ImageSpan:
    """An image's soft tokens in a prompt.

    Spans are equal where the same image stands in the same place.

    Attributes:
        start: the position of the first.
        count: how many they are.
        digest: of the image, see `Picture`.
        picture: the image.
    """

    start: int
    count: int
    digest: str
    picture: Picture = field(compare=False, repr=False)

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.start + self.count


class Piece(NamedTuple):
    """What is encoded at once: the positions start .. end - 1, all of `image` or none of any."""

    start: int
    end: int
    image: ImageSpan | None = None


def pieces(start: int, end: int, longest: int, images: Sequence[ImageSpan] = ()) -> Iterator[Piece]:
    """The positions start .. end - 1 of a prompt, cut for encoding: an image is a piece of its own, whatever its
    length, and text comes in pieces of at most `longest`.

    Args:
        images: of the prompt, in order; those that begin before `start`, or at `end` or after, play no part.
    """
    place = start
    for image in images:
        if start <= image.start < end:
            yield from _text_pieces(place, image.start, longest)
            yield Piece(image.start, image.end, image)
            place = image.end
    yield from _text_pieces(place, end, longest)


def _text_pieces(start: int, end: int, longest: int) -> Iterator[Piece]:
    for place in range(start, end, longest):
        yield Piece(place, min(place + longest, end))


def batches(start: int, end: int, longest: int, images: Sequence[ImageSpan] = ()) -> Iterator[tuple[int, int]]:
    """The positions start .. end - 1 in stretches of about `longest`, none of which ends within an image."""
    place = start
    while place < end:
        after = min(place + longest, end)
        after = max([after, *(image.end for image in images if image.start < after < image.end)])
        yield place, after
        place = after


def shared(held: Sequence[ImageSpan], wanted: Sequence[ImageSpan], length: int) -> int:
    """How much of a prefix of `length` tokens, which two prompts have in common as ids, they have in common as images.

    It ends before the first image that is not the same in both, and never within one.
    """
    same = set(held) & set(wanted)
    cuts = [one.start for one in (*held, *wanted) if one.start < length and (one not in same or one.end > length)]
    return min([length, *cuts])


def has_images(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a message of a chat holds an image."""
    return any(part.get("type") == "image" for message in messages for part in parts_of(message))


def parts_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a message; of one that is a text only, none."""
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
