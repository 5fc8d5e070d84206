"""Where a prompt is cut, and how much of it two prompts share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dgengine.vision.spans import ImageSpan, Picture, batches, pieces, shared


def span(start: int, count: int, digest: str = "a") -> ImageSpan:
    return ImageSpan(start, count, digest, Picture(digest, count, b"", "x.png"))


@st.composite
def prompts(draw: st.DrawFn) -> tuple[int, list[ImageSpan]]:
    """The length of a prompt, and its images."""
    place, images = 0, []
    for _ in range(draw(st.integers(0, 4))):
        place += draw(st.integers(1, 12))
        images.append(span(place, draw(st.integers(1, 12)), draw(st.sampled_from("abc"))))
        place = images[-1].end
    return place + draw(st.integers(1, 12)), images


@given(prompts(), st.integers(1, 9))
def test_pieces_cover_the_prompt_and_hold_an_image_each_or_none(prompt: tuple[int, list[ImageSpan]], most: int) -> None:
    length, images = prompt
    cut = list(pieces(0, length, most, images))
    assert [piece.start for piece in cut] == [0, *(piece.end for piece in cut[:-1])]
    assert cut[-1].end == length
    assert [piece.image for piece in cut if piece.image] == images
    for piece in cut:
        if piece.image is not None:
            assert (piece.start, piece.end) == (piece.image.start, piece.image.end)
        else:
            assert piece.end - piece.start <= most
            assert not any(image.start < piece.end and piece.start < image.end for image in images)


@given(prompts(), st.integers(1, 9), st.data())
def test_batches_never_end_within_an_image(prompt: tuple[int, list[ImageSpan]], most: int, data: st.DataObject) -> None:
    length, images = prompt
    begin = data.draw(st.sampled_from([0, *(image.end for image in images)]))
    cut = list(batches(begin, length, most, images))
    assert [start for start, _ in cut] == [begin, *(end for _, end in cut[:-1])]
    assert cut[-1][1] == length
    assert not any(image.start < end < image.end for _, end in cut for image in images)
    parts = [piece for start, end in cut for piece in pieces(start, end, most, images)]
    assert [piece.image for piece in parts if piece.image] == [image for image in images if image.start >= begin]


def test_the_same_images_are_shared() -> None:
    assert shared([span(5, 10)], [span(5, 10)], 40) == 40


def test_another_image_with_the_same_tokens_is_not() -> None:
    assert shared([span(5, 10, "a")], [span(5, 10, "b")], 40) == 5


def test_a_text_with_an_image_s_tokens_is_not_an_image() -> None:
    assert shared([span(5, 10)], [], 40) == 5
    assert shared([], [span(5, 10)], 40) == 5


def test_a_prefix_never_ends_within_an_image() -> None:
    assert shared([span(5, 10)], [span(5, 10)], 12) == 5
    assert shared([span(5, 10)], [span(5, 12)], 15) == 5


@given(prompts(), prompts(), st.integers(0, 60))
def test_what_is_shared_holds_the_same_images(
    one: tuple[int, list[ImageSpan]], other: tuple[int, list[ImageSpan]], length: int
) -> None:
    kept = shared(one[1], other[1], length)
    assert 0 <= kept <= length
    within = [[image for image in images if image.start < kept] for images in (one[1], other[1])]
    assert within[0] == within[1]
    assert all(image.end <= kept for image in within[0])
