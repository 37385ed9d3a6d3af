"""From torch to the ONNX file that acts: the sampling network, and Q beside it so that an actor can choose among candidates."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import torch

from sql_ros.core.acting import Candidates, Composed, WithMean
from sql_ros.core.errors import ConfigError
from sql_ros.core.learner import Learner
from sql_ros.core.policy import FORMAT, MEAN_OUTPUTS
from sql_ros.core.spec import TaskSpec


def export_policy(learner: Learner, spec: TaskSpec, version: int, lineage: str) -> tuple[bytes, str]:
    """Writes the present networks as ONNX with everything an actor must check in the metadata.

    Args:
        learner: whose networks.
        spec: of the task; goes into the metadata whole.
        version: counts policies of one run from 1.
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


def export_composition(learners: Sequence[Learner], weights: Sequence[float], spec: TaskSpec) -> bytes:
    """Several skills as one policy by the weighted sum of their Q, see `acting.Composed`.

    Args:
        learners: of the skills; one temperature, and tasks that observe and act alike.
        weights: of each Q.
        spec: of the composed task.

    Raises:
        ConfigError: they do not fit together.
    """
    acting, updates = compose(learners, weights, spec), sum(learner.updates for learner in learners)
    return write_policy(acting, acting.noise_size, spec, 1, updates, learners[0].temperature, "")[0]


def compose(learners: Sequence[Learner], weights: Sequence[float], spec: TaskSpec) -> Composed:
    """As `export_composition`, to act in this process."""
    if len(learners) < 2 or len(weights) != len(learners):
        raise ConfigError(f"{len(learners)} skills and {len(weights)} weights, expected two skills or more and a weight for each")
    if not np.isfinite(weights).all() or not any(weights):
        raise ConfigError(f"weights are {', '.join(f'{weight:g}' for weight in weights)}, expected finite numbers, not all of them 0")
    sizes = {(len(learner.q.offset), learner.action_size) for learner in learners}
    if sizes != {(spec.observation_size, spec.action_size)}:
        raise ConfigError(f"skills observe and act in {sorted(sizes)} components, expected all {(spec.observation_size, spec.action_size)}")
    temperatures = {round(learner.temperature, 9) for learner in learners}
    if len(temperatures) > 1:
        raise ConfigError(f"skills have temperatures {sorted(temperatures)}, expected one: their Q cannot be added")
    skills = [Candidates(learner.sampler, learner.q_target).cpu() for learner in learners]
    return Composed(skills, weights, [learner.sampler.noise_size for learner in learners], spec.action_size)


def write_policy(
    acting: torch.nn.Module, noise_size: int, spec: TaskSpec, version: int, updates: int, temperature: float, lineage: str
) -> tuple[bytes, str]:
    """Writes any module that acts: observation (1, S), noise (K, noise size) -> action (K, A) in [-1, 1], q (K,).

    Args:
        acting: on the CPU.
        noise_size: standard normal numbers per action.
        spec: of the task; goes into the metadata whole.
        version: as in `core.policy.PolicyInfo`, like the rest.
        updates: made.
        temperature: alpha.
        lineage: of the policy before.

    Returns:
        The file's bytes and the SHA-256 of its weights.
    """
    example = (torch.zeros(1, spec.observation_size), torch.zeros(2, noise_size))
    whole, outputs = acting, ["action", "q"]
    if isinstance(acting, (Candidates, Composed)):
        whole, outputs = WithMean(acting), [*outputs, *MEAN_OUTPUTS]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter (dynamo=False) takes 0.03 s a call, the newer one 3 s
        torch.onnx.export(
            whole, example, buffer, dynamo=False, opset_version=17,  # type: ignore[arg-type]
            input_names=["observation", "noise"], output_names=outputs,
            dynamic_axes={"noise": {0: "candidates"}, "action": {0: "candidates"}, "q": {0: "candidates"}},
        )  # fmt: skip
    model = onnx.load_from_string(buffer.getvalue())
    weights = hashlib.sha256(b"".join(tensor.raw_data for tensor in model.graph.initializer)).hexdigest()
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
