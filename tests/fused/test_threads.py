"""The threads of compiled passes: every task is done once, errors come back, nothing waits for ever."""

from __future__ import annotations

import threading
import time

import pytest

from gradwise.backends.kernels.threads import together


def test_every_task_is_done_once():
    for _ in range(200):
        done: list[int] = []
        together([lambda number=number, done=done: done.append(number) for number in range(5)])
        assert sorted(done) == list(range(5))


def test_the_first_task_runs_here():
    where = []
    together([lambda: where.append(threading.get_ident()), lambda: None])
    assert where == [threading.get_ident()]


@pytest.mark.parametrize("failing", range(3))
def test_errors_come_back_when_all_have_ended(failing):
    ended = []

    def task(number):
        time.sleep(0.01)
        ended.append(number)
        if number == failing:
            raise ZeroDivisionError(str(number))

    for _ in range(5):
        ended.clear()
        with pytest.raises(ZeroDivisionError, match=str(failing)):
            together([lambda number=number: task(number) for number in range(3)])
        time.sleep(0.05)
        assert failing in ended


def test_an_interruption_waits_for_those_that_have_begun_and_the_next_pass_works():
    begun, ended = threading.Event(), []

    def slow():
        begun.set()
        time.sleep(0.1)
        ended.append(1)

    def interrupted():
        assert begun.wait(10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together([interrupted, slow])
    assert ended == [1]
    test_every_task_is_done_once()


def test_many_givers_at_once():
    totals = []

    def give():
        done = []
        for _ in range(50):
            together([lambda: done.append(1), lambda: done.append(1), lambda: done.append(1)])
        totals.append(len(done))

    threads = [threading.Thread(target=give) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert totals == [150] * 6
