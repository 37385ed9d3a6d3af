"""Control steps per second of actor and simulated arm in lockstep."""

from __future__ import annotations

from sql_ros.checks.bench.node_processes import NodeSettings, run_nodes


def measure_lockstep(task: str, seconds: float, seed: int) -> dict[str, float]:
    """Measure the rate of control steps of actor and simulated arm in lockstep.

    The actor starts without a policy and explores. Its learner is played and never trains, and the
    actor does not wait for it.

    Args:
        task: Name of a file in config/tasks/, or a path.
        seconds: Length of the measurement [s].
        seed: Seed of the actor.

    Returns:
        The figure `lockstep_steps_per_s` [1/s].

    Raises:
        ConfigError: A node ended, or the actor made too few reports.
    """
    lockstep = {"realtime_factor": 0.0}
    nodes = {
        "sim_bridge": NodeSettings(lockstep),
        "actor": NodeSettings(
            {**lockstep, "seed": seed, "learner_patience_s": 0.0},
            {"commands": "sim_bridge/commands"},
        ),
    }
    reports, _ = run_nodes(task, nodes, seconds)
    first = reports[0]
    last = reports[-1]
    steps = float(last["control_steps"]) - float(first["control_steps"])
    elapsed_s = float(last["received_s"]) - float(first["received_s"])
    return {"lockstep_steps_per_s": steps / elapsed_s}
