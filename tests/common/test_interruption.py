"""Signals are noted for the next step; only a later Ctrl-C ends a training at once."""

import os
import signal
import threading

import pytest

from sql_ros.common import interruption
from sql_ros.common.interruption import Interrupted, SignalWatch, watched_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_is_raised_at_the_next_step(number):
    before = signal.signal(number, signal.SIG_DFL)  # the tests may run under nohup
    try:
        with watched_signals() as watch:
            watch.check()
            os.kill(os.getpid(), number)
            with pytest.raises(Interrupted) as raised:
                watch.check()
    finally:
        signal.signal(number, before)
    assert raised.value.exit_code == 128 + number


def test_a_copy_of_ctrl_c_does_not_end_the_process_at_once():
    with watched_signals() as watch:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            watch.check()


def test_a_later_ctrl_c_does(monkeypatch):
    watch = SignalWatch()
    watch.on_signal(signal.SIGTERM, None)
    monkeypatch.setattr(interruption, "AGAIN_S", -1.0)
    with pytest.raises(KeyboardInterrupt):
        watch.on_signal(signal.SIGINT, None)


def test_sighup_stays_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with watched_signals() as watch:
            os.kill(os.getpid(), signal.SIGHUP)
            watch.check()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_takes_no_signals():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with watched_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
