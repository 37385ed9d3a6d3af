"""What the page has heard of a stack, and what it shows of it. Ages are on the steady clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sql_ros.robot.control.step import EpisodeSummary

SILENT_S = 3.0  # a node whose last status is older is shown as dead; nodes publish once a second
RECENT = 20  # episodes in the running success rate, as in the monitor's view
MOST_EPISODES = 20_000  # episodes that are kept for the curves
CURVE_POINTS = 240  # points of a curve that are sent
NOTES = 40  # lines of the log
LEVELS = {0: "ok", 1: "warn", 2: "error", 3: "error"}  # levels of diagnostic_msgs
HOLDING = "holding, "  # how the message of an actor that holds the arm begins
ACTORS = ("actor", "trials")  # nodes that move the arm
FIGURES = (
    "period_target_ms",
    "period_p50_ms",
    "period_p99_ms",
    "period_max_ms",
    "latency_p50_us",
    "latency_p99_us",
    "latency_max_us",
    "inference_p50_us",
    "missed_deadlines",
    "control_steps",
    "holds",
    "policy_version",
)
TRAINING = ("transitions", "updates", "policy_version", "q_loss", "temperature")


@dataclass(frozen=True)
class NodeStatus:
    """The last status of a node.

    Attributes:
        level: Level as in diagnostic_msgs, from 0 (OK) to 3 (STALE).
        message: State of the node in words.
        values: Values by key.
        heard: Steady time of its arrival [s].
    """

    level: int
    message: str
    values: Mapping[str, str]
    heard: float


class StackStatus:
    """Statuses, episodes and notes. One thread writes, another may read.

    Attributes:
        nodes: Node name to its last status.
        goal_status: What the actor said last about a goal; empty: nothing.
        notes: Lines for the operator, the newest last.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, NodeStatus] = {}
        self.goal_status = ""
        self.notes: deque[dict[str, Any]] = deque(maxlen=NOTES)
        self._episodes: deque[EpisodeSummary] = deque(maxlen=MOST_EPISODES)
        self._noted = 0

    def note(self, text: str, level: str = "ok") -> None:
        """Add a line to the log.

        Args:
            text: The line.
            level: "ok", "warn" or "error".
        """
        self._noted += 1
        clock = time.strftime("%H:%M:%S")
        self.notes.append({"number": self._noted, "at": clock, "text": text, "level": level})

    def add_episode(self, episode: EpisodeSummary) -> None:
        """Add a finished episode to the curves."""
        self._episodes.append(episode)

    def is_alive(self, node: str, now: float) -> bool:
        """Return whether a status of a node arrived in the last `SILENT_S`.

        Args:
            node: Node name.
            now: Steady time [s].
        """
        status = self.nodes.get(node)
        return status is not None and now - status.heard <= SILENT_S

    def actor(self) -> str:
        """Return the name of the node that moves the arm; the last one heard of, if there were
        several; empty if there was none.
        """
        heard = [(self.nodes[name].heard, name) for name in ACTORS if name in self.nodes]
        return max(heard)[1] if heard else ""

    def report(self, now: float) -> dict[str, Any]:
        """Return what the page shows, ready for JSON.

        Args:
            now: Steady time [s].
        """
        nodes = dict(self.nodes)
        actor = nodes.get(self.actor())
        learner = nodes.get("learner")
        values = actor.values if actor is not None else {}
        return {
            "nodes": [_row(name, status, now) for name, status in sorted(nodes.items())],
            "actor": self.actor(),
            "actor_age": round(now - actor.heard, 1) if actor is not None else None,
            "is_alive": actor is not None and now - actor.heard <= SILENT_S,
            "hold": _hold(actor.message) if actor is not None else "",
            "acting": actor.message if actor is not None else "",
            "counts": {
                "hold": _counts(values, "hold/"),
                "filter": _counts(values, "safety/"),
                "fault": {
                    f"{name} {kind}": count
                    for name, status in nodes.items()
                    for kind, count in _counts(status.values, "fault/").items()
                },
            },
            "figures": {key: values[key] for key in FIGURES if key in values},
            "training": (
                {key: learner.values[key] for key in TRAINING if key in learner.values}
                if learner is not None
                else {}
            ),
            "simulation": dict(nodes["sim_bridge"].values) if "sim_bridge" in nodes else {},
            "goal_status": self.goal_status,
            "notes": list(self.notes),
            "curves": self._curves(),
        }

    def _curves(self) -> dict[str, list[float]]:
        """Return the episode numbers, the success rate of the last `RECENT` episodes, the mean
        return and the mean distance over as many, at most `CURVE_POINTS` each.
        """
        episodes = list(self._episodes)
        count = len(episodes)
        places = sorted({round(i * (count - 1) / CURVE_POINTS) for i in range(CURVE_POINTS + 1)})
        curves: dict[str, list[float]] = {
            "episode": [],
            "success": [],
            "return": [],
            "distance": [],
        }
        for place in places if count else []:
            recent = episodes[max(0, place + 1 - RECENT) : place + 1]
            curves["episode"].append(place + 1)
            curves["success"].append(_mean([float(e.success) for e in recent]))
            curves["return"].append(_mean([e.undiscounted_return for e in recent]))
            curves["distance"].append(_mean([e.distance for e in recent]))
        return curves


def _row(name: str, status: NodeStatus, now: float) -> dict[str, Any]:
    """Return name, level, message and age [s] of a node for the table of processes."""
    age = now - status.heard
    level = LEVELS.get(status.level, "error") if age <= SILENT_S else "dead"
    return {"name": name, "level": level, "message": status.message, "age": round(age, 1)}


def _hold(message: str) -> str:
    """Return kind and reason of a hold from the message of an actor; empty if it is not held."""
    _, found, reason = message.partition(HOLDING)
    return reason if found else ""


def _counts(values: Mapping[str, str], prefix: str) -> dict[str, int]:
    """Return the counts above 0 among values of /diagnostics, by kind.

    Args:
        values: Values by key.
        prefix: Begin of the keys, left out in the result.
    """
    return {
        key.removeprefix(prefix): int(value)
        for key, value in values.items()
        if key.startswith(prefix) and value.isdecimal() and int(value)
    }


def _mean(values: list[float]) -> float:
    """Return the mean, rounded to four significant digits."""
    return float(f"{sum(values) / len(values):.4g}")
