"""When a command watchdog sends zeros, in a time of the test's own."""

import pytest

from sql_ros.robot.vigil import BEAT, ORPHAN_S, REST, TIMEOUT_S, Phase, Vigil


def _vigil(*heard: tuple[bytes, float]) -> Vigil:
    vigil = Vigil(TIMEOUT_S)
    for words, at in heard:
        vigil.pass_time(at)
        vigil.heard(words, at)
    return vigil


def test_without_a_timeout_only_the_end_of_the_process_counts():
    vigil = Vigil(float("inf"))
    vigil.heard(BEAT, 1.0)
    vigil.pass_time(1000.0)
    assert vigil.phase is Phase.WATCHING
    assert 0.0 < vigil.wait_s(1000.0) <= 1.0
    vigil.heard(b"", 1000.0)
    assert vigil.sends_zeros


@pytest.mark.parametrize(
    ("heard", "until", "phase", "sends"),
    [
        ([], 9.0, Phase.RESTING, False),
        ([(b"", 1.0)], 1.0, Phase.ENDED, False),
        ([(BEAT, 1.0)], 1.1, Phase.WATCHING, False),
        ([(BEAT, 1.0)], 1.13, Phase.SILENT, True),
        ([(BEAT, 1.0), (BEAT, 1.1)], 1.2, Phase.WATCHING, False),
        ([(BEAT, 1.0), (BEAT, 2.0)], 2.1, Phase.WATCHING, False),
        ([(BEAT, 1.0), (b"", 1.05)], 1.06, Phase.ORPHANED, True),
        ([(BEAT, 1.0), (b"", 1.5)], 2.4, Phase.ORPHANED, True),
        ([(BEAT, 1.0), (b"", 1.5)], 1.51 + ORPHAN_S, Phase.ENDED, False),
        ([(BEAT, 1.0), (REST, 1.1)], 9.0, Phase.RESTING, False),
        ([(BEAT + BEAT + REST, 1.0)], 9.0, Phase.RESTING, False),
        ([(REST + BEAT, 1.0)], 1.2, Phase.SILENT, True),
        ([(BEAT, 1.0), (REST, 1.5), (b"", 2.0)], 2.0, Phase.ENDED, False),
    ],
)
def test_zeros_follow_silence_and_death_but_not_rest(heard, until, phase, sends):
    vigil = _vigil(*heard)
    vigil.pass_time(until)
    assert (vigil.phase, vigil.sends_zeros) == (phase, sends)
