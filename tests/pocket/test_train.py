"""The options of the training."""

from __future__ import annotations

import pytest

from pocket.train import parse


def test_tasks_are_emphasised_by_name() -> None:
    assert parse([]).emphasis == []
    assert parse(["--emphasis", "count=5,list=1.5"]).emphasis == [("count", 5.0), ("list", 1.5)]


@pytest.mark.parametrize("text", ["counting=5", "count", "count=many", ""])
def test_what_is_no_task_or_no_number_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        parse(["--emphasis", text])
