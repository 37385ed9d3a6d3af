"""Metrics are read whatever their file has become."""

import json

import pytest

from sql_ros.common.atomic_file import write_atomically
from sql_ros.common.metrics_file import MetricsFile, drop_metrics_after, read_metrics

ROWS = [{"steps": steps, "returns": -1.0} for steps in (100, 200, 300)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_a_missing_or_empty_file_has_no_metrics(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    (tmp_path / "metrics.jsonl").touch()
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    assert drop_metrics_after(tmp_path / "missing.jsonl", 5) == 0
    assert not (tmp_path / "missing.jsonl").exists()


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xfe\x00", b"[1, 2]", b"7", b"{", b"[" * 100_000, b"\r", b'{"a": NaN'],
    ids=len,
)
def test_lines_that_are_none_are_passed_over(path, garbage):
    path.write_bytes(garbage + b"\n" + path.read_bytes() + garbage)
    assert read_metrics(path) == ROWS


@pytest.mark.parametrize("cut", range(1, 34))
def test_a_torn_line_is_passed_over_and_ended(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    metrics = MetricsFile(path)
    metrics.append({"steps": 400})
    metrics.close()
    rows = read_metrics(path)
    assert rows[:2] == ROWS[:2]
    assert rows[-1] == {"steps": 400}


def test_lines_beyond_a_checkpoint_are_dropped_and_others_stay(path):
    path.write_bytes(path.read_bytes() + b'{"kind": "episode"}\n\xff\n{"steps": 250}\n{"steps')
    assert drop_metrics_after(path, 200) == 2
    assert read_metrics(path) == [*ROWS[:2], {"kind": "episode"}]
    before = path.stat().st_mtime_ns
    assert drop_metrics_after(path, 200) == 0
    assert path.stat().st_mtime_ns == before


def test_numbers_that_json_does_not_know_are_null(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.append({"q_loss": float("nan"), "entropy": float("-inf"), "steps": 3})
    metrics.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"q_loss": null, "entropy": null, "steps": 3}\n'


def test_a_file_that_cannot_be_written_keeps_its_content(tmp_path):
    path = tmp_path / "policy.onnx"
    write_atomically(path, b"first")
    write_atomically(path, "second")
    assert path.read_text() == "second"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", b"third")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "policy.onnx"]
