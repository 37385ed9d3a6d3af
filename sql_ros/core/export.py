"""From torch to the ONNX file that acts: the sampling network, and Q beside it so that an actor can choose among candidates."""

from __future__ import annotations

import hashlib
import io
import warnings

import onnx
import torch

from sql_ros.core.acting import Candidates
from sql_ros.core.learner import Learner
from sql_ros.core.policy import FORMAT
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
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter (dynamo=False) takes 0.03 s a call, the newer one 3 s
        torch.onnx.export(
            acting, example, buffer, dynamo=False, opset_version=17,  # type: ignore[arg-type]
            input_names=["observation", "noise"], output_names=["action", "q"],
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
