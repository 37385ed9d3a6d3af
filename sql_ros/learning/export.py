"""Export of a learner's networks as the ONNX file with which an actor acts.

The file contains the sampling network, and Q so that an actor can choose among drawn actions.
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
    """Export the present sampling network and target Q-networks of a learner as ONNX.

    The metadata of the file contain everything that an actor must check.

    Args:
        learner: The learner; it is not changed.
        spec: Interface of the task, part of the metadata.
        version: Number of the policy in its run, from 1.
        lineage: SHA-256 of the weights of the policy exported before; "" for the first policy.

    Returns:
        The bytes of the file, and the SHA-256 of its weights (hexadecimal), the lineage of the next
        policy.
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
    """Export several skills as one ONNX policy for the weighted sum of their Q, see `Composed`.

    Args:
        learners: Learners of two skills or more, of one temperature, whose tasks have the sizes of
            observation and action of `spec`.
        weights: Weight of each skill's Q.
        spec: Interface of the composed task.

    Returns:
        The bytes of the file, a policy of version 1 without lineage.

    Raises:
        ConfigError: There are fewer than two skills, not one weight per skill, weights that are not
            finite or all 0, or skills of other sizes or of different temperatures.
    """
    acting = compose(learners, weights, spec)
    updates = sum(learner.updates for learner in learners)
    temperature = learners[0].temperature
    data, _ = write_policy(acting, acting.noise_size, spec, 1, updates, temperature, "")
    return data


def compose(learners: Sequence[Learner], weights: Sequence[float], spec: TaskSpec) -> Composed:
    """Compose skills by the weighted sum of their Q, as a module that acts in this process.

    The networks of the learners are copied.

    Args:
        learners: Learners of two skills or more, of one temperature, whose tasks have the sizes of
            observation and action of `spec`.
        weights: Weight of each skill's Q.
        spec: Interface of the composed task.

    Returns:
        The module, on the CPU.

    Raises:
        ConfigError: There are fewer than two skills, not one weight per skill, weights that are not
            finite or all 0, or skills of other sizes or of different temperatures.
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
    """Export a module that acts as ONNX, with metadata.

    The graph has the inputs "observation" (1, S) and "noise" (K, noise size), K being free, and the
    outputs "action" (K, A) and "q" (K,). `Candidates` and `Composed` get two more outputs, the mean
    of the actions and its Q (`MEAN_OUTPUTS`). The metadata are texts: "format", "spec" (JSON),
    "version", "updates", "temperature", "weights_sha256", "lineage" and "task_code".

    Args:
        acting: Module on the CPU, from observation (1, S) and noise (K, noise size) to actions
            (K, A) in [-1, 1] and their Q (K,).
        noise_size: Standard normal numbers per action.
        spec: Interface of the task, part of the metadata like the arguments below.
        version: Number of the policy in its run.
        updates: Gradient steps made when the policy was exported.
        temperature: Temperature alpha of the policy.
        lineage: SHA-256 of the weights of the policy exported before; "" for the first policy.

    Returns:
        The bytes of the file, and the SHA-256 of its weights (hexadecimal).
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
            "task_code": spec.task_code,
        },
    )
    return model.SerializeToString(), weights
