"""Waiting for the lab: a question without an answer is asked again, and is part of the error."""

from __future__ import annotations

import pytest

from pawl.lab.probe import NotReady, wait


def test_a_question_without_an_answer_is_asked_again() -> None:
    answers = iter(["no server", False, True])

    def ready() -> bool:
        answer = next(answers)
        if isinstance(answer, str):
            raise NotReady(answer)
        return answer

    wait("it", ready, timeout=60, interval=0)
    assert next(answers, None) is None


def test_the_last_answer_is_part_of_the_error() -> None:
    def ready() -> bool:
        raise NotReady("no server")

    with pytest.raises(NotReady, match="it is not there after 0 s: no server"):
        wait("it", ready, timeout=0)
