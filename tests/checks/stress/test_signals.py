"""A few of the signals of `python -m sql_ros.checks.stress.signals`.

The long form is that command.
"""

import itertools
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sql_ros.checks.processes import start_process
from sql_ros.checks.stress import signals
from sql_ros.checks.stress.signals import (
    END,
    FIRST_DOMAIN,
    MOMENTS,
    START,
    WORK,
    SignalCase,
    SignalResult,
    SignalResults,
    send_signals,
)
from sql_ros.common.errors import ConfigError

SLEEP = "import time; time.sleep(600)"
DEAF = (
    f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('on', flush=True); {SLEEP}"
)


@pytest.mark.stack
@pytest.mark.long
@pytest.mark.xdist_group("own_domain")
def test_no_signal_at_a_random_moment_is_lost(tmp_path):
    results = SignalResults(
        list(
            send_signals(12, 0, FIRST_DOMAIN, tmp_path, {"ROS_LOG_DIR": str(tmp_path / "ros_log")})
        )
    )
    assert len(results.all) == 12
    assert {outcome.case.moment for outcome in results.all} == set(MOMENTS)
    assert not results.lost
    assert all(outcome.code == 0 for outcome in results.all if outcome.case.moment == WORK)


def test_a_signal_whose_process_runs_on_is_lost():
    taken = SignalResult(SignalCase(START, signal.SIGINT, 0.5), 0.2, -2, "")
    lost = SignalResult(SignalCase(END, signal.SIGTERM, 0.5), float("inf"), -6, "")
    figures = SignalResults([taken, lost]).figures()
    assert figures["signals"] == 2
    assert figures["lost"] == 1
    assert figures["ended_max_s"] == 0.2


def test_cases_are_drawn_from_every_moment_and_signal():
    cases = list(itertools.islice(signals._draw(np.random.default_rng(0)), 60))
    kinds = {(case.moment, case.number) for case in cases}
    assert kinds == set(itertools.product(MOMENTS, signals.SIGNALS))
    assert all(0.0 <= case.share < 1.0 for case in cases)


def test_a_process_that_ignores_the_signal_is_aborted_and_has_lost_it(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "LOST_S", 0.05)
    with (tmp_path / "log").open("wb") as file:
        process = start_process([sys.executable, "-c", DEAF], file)
    while not (tmp_path / "log").read_text():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert signals._await_end(process, time.monotonic()) == float("inf")
    assert process.returncode == -signal.SIGABRT


def test_a_process_that_ends_is_timed_from_the_signal():
    process = start_process([sys.executable, "-c", SLEEP], subprocess.DEVNULL)
    process.send_signal(signal.SIGTERM)
    assert 9.0 < signals._await_end(process, time.monotonic() - 9.0) < 9.0 + signals.LOST_S


@pytest.mark.parametrize(
    ("code", "text"),
    [("print('why')", "the actor ended with exit code 0: why"), (SLEEP, "not active within 0.3 s")],
    ids=["ended", "slow"],
)
def test_an_actor_that_does_not_become_active_is_an_error(tmp_path, monkeypatch, code, text):
    monkeypatch.setattr(signals, "ACTIVE_S", 60.0 if "print" in code else 0.3)
    with (tmp_path / "log").open("wb") as file:
        process = start_process([sys.executable, "-c", code], file)
    with pytest.raises(ConfigError, match=text):
        signals._await_active(process, tmp_path / "active", tmp_path / "log")
    assert process.poll() is not None


def test_each_job_has_a_domain_a_folder_and_a_seed_of_its_own(tmp_path, monkeypatch, capsys):
    """The signals are played: one of them is lost."""
    jobs = []

    def send(count, seed, domain, folder, environment):
        jobs.append((count, seed, domain))
        assert folder.is_dir()
        assert environment["ROS_LOG_DIR"].startswith(str(folder))
        for number in range(count):
            is_lost = domain == FIRST_DOMAIN and number == 1
            case = SignalCase(END, signal.SIGTERM, 0.5)
            yield SignalResult(case, float("inf") if is_lost else 0.1, 0, f"stacks {domain}")

    monkeypatch.setattr(signals, "send_signals", send)
    figures = tmp_path / "signals.json"
    words = ["--count", "21", "--jobs", "2", "--seed", "3", "--busy", "1", "--json", str(figures)]
    monkeypatch.setattr(sys, "argv", ["signals", *words])
    assert signals.main() == 1
    assert sorted(jobs) == [(10, 7, FIRST_DOMAIN + 1), (11, 6, FIRST_DOMAIN)]
    values = json.loads(figures.read_text())["figures"]
    assert (values["signals"], values["lost"], values["busy"]) == (21, 1, 1)
    text = capsys.readouterr().out
    assert f"stacks {FIRST_DOMAIN}" in text  # the output of the one that lost it, and no other
    assert f"stacks {FIRST_DOMAIN + 1}" not in text
    assert "20 signals, 1 lost" in text


def test_no_job_is_a_mistake(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["signals", "--jobs", "0"])
    with pytest.raises(SystemExit):
        signals.main()
    assert "expected at least 1 for --count and --jobs" in capsys.readouterr().err
