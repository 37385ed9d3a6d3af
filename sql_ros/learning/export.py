"""Export of the networks to the ONNX file that acts.

The file contains the sampling network, and Q so that an actor can choose among candidates.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import torch

from sql_ros.common.errors import ConfigError
from sql_ros.learning.export_modules import Candidates, Composed, WithMean
from sql_ros.learning.learner import Learner
from sql_ros.policy.runtime import FORMAT, MEAN_OUTPUTS
from sql_ros.policy.task_spec import TaskSpec


def export_policy(
    learner: Learner, spec: TaskSpec, version: int, lineage: str
) -> tuple[bytes, str]:
    """Export the present networks of a learner as ONNX.

    The metadata contain everything that an actor must check.

    Args:
        learner: Its sampling network and its target Q-networks are exported.
        spec: Interface of the task; it is part of the metadata.
        version: Number of the policy in its run, from 1.
        lineage: SHA-256 of the weights of the policy before, "" for the first.

    Returns:
        The file's bytes and the SHA-256 of its weights.
    """
    return write_policy(
        Candidates(learner.sampler, learner.q_target).cpu(),
        learner.sampler.noise_size,
        spec,
        version,
        learner.updates,
        learner.temperature,
        lineage,
    )


def export_composition(
    learners: Sequence[Learner], weights: Sequence[float], spec: TaskSpec
) -> bytes:
    """Export several skills as one policy by the weighted sum of their Q, see `Composed`.

    Args:
        learners: Learners of the skills; of one temperature, and of tasks with the same sizes of
            observation and action.
        weights: Weights of each Q.
        spec: Interface of the composed task.

    Returns:
        The file's bytes.

    Raises:
        ConfigError: The skills do not fit together.
    """
    acting = compose(learners, weights, spec)
    updates = sum(learner.updates for learner in learners)
    temperature = learners[0].temperature
    data, _ = write_policy(acting, acting.noise_size, spec, 1, updates, temperature, "")
    return data


def compose(learners: Sequence[Learner], weights: Sequence[float], spec: TaskSpec) -> Composed:
    """Compose skills to a module that acts in this process, see `export_composition`.

    Raises:
        ConfigError: The skills do not fit together.
    """
    if len(learners) < 2 or len(weights) != len(learners):
        raise ConfigError(
            f"{len(learners)} skills and {len(weights)} weights, expected two skills or more and a"
            " weight for each"
        )
    if not np.isfinite(weights).all() or not any(weights):
        raise ConfigError(
            f"weights are {', '.join(f'{weight:g}' for weight in weights)}, expected finite"
            " numbers, not all of them 0"
        )
    sizes = {(len(learner.q.offset), learner.action_size) for learner in learners}
    if sizes != {(spec.observation_size, spec.action_size)}:
        raise ConfigError(
            f"skills observe and act in {sorted(sizes)} components, expected all"
            f" {(spec.observation_size, spec.action_size)}"
        )
    temperatures = {round(learner.temperature, 9) for learner in learners}
    if len(temperatures) > 1:
        raise ConfigError(
            f"skills have temperatures {sorted(temperatures)}, expected one: their Q cannot be"
            " added"
        )
    skills = [Candidates(learner.sampler, learner.q_target).cpu() for learner in learners]
    return Composed(
        skills, weights, [learner.sampler.noise_size for learner in learners], spec.action_size
    )


def write_policy(
    acting: torch.nn.Module,
    noise_size: int,
    spec: TaskSpec,
    version: int,
    updates: int,
    temperature: float,
    lineage: str,
) -> tuple[bytes, str]:
    """Export any module that acts as ONNX.

    Args:
        acting: On the CPU: observation (1, S), noise (K, noise size) -> action (K, A) in [-1, 1], q
            (K,).
        noise_size: Standard normal numbers per action.
        spec: Interface of the task; it is part of the metadata.
        version: As in `policy.runtime.PolicyInfo`, like the arguments below.
        updates: made.
        temperature: alpha.
        lineage: SHA-256 of the weights of the policy before.

    Returns:
        The file's bytes and the SHA-256 of its weights.
    """
    example = (torch.zeros(1, spec.observation_size), torch.zeros(2, noise_size))
    exported = acting
    outputs = ["action", "q"]
    if isinstance(acting, (Candidates, Composed)):
        exported = WithMean(acting)
        outputs += MEAN_OUTPUTS
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # the older exporter (dynamo=False) takes 0.03 s, the newer one 3 s
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported,
            example,
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=17,
            input_names=["observation", "noise"],
            output_names=outputs,
            dynamic_axes={
                "noise": {0: "candidates"},
                "action": {0: "candidates"},
                "q": {0: "candidates"},
            },
        )
    model = onnx.load_from_string(buffer.getvalue())
    weights = hashlib.sha256(
        b"".join(tensor.raw_data for tensor in model.graph.initializer)
    ).hexdigest()
    onnx.helper.set_model_props(
        model,
        {
            "format": FORMAT,
            "spec": spec.to_json(),
            "version": str(version),
            "updates": str(updates),
            "temperature": repr(temperature),
            "weights_sha256": weights,
            "lineage": lineage,
        },
    )
    return model.SerializeToString(), weights
