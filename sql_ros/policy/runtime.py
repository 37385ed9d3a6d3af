"""The policy that acts: ONNX Runtime on one thread, with a graph that is checked before use.

This module never imports torch.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from sql_ros.common.errors import PolicyError
from sql_ros.policy.onnx_validation import check_graph, extract_output, extract_q
from sql_ros.policy.task_spec import TaskSpec

FORMAT = "sql_ros.policy/2"
OUTPUTS = ("action", "q")  # (K, A), (K,)
# (1, A), (1,): mean of the candidates and its Q; policies with a single candidate do not have them
MEAN_OUTPUTS = ("mean", "mean_q")
# largest file [bytes]: two layers of 1024 units; Python's lock is held while a file is loaded
LARGEST_FILE = 16 * 1024 * 1024
TIMED_RUNS = 30  # runs by which a policy is timed
WARM_UP_RUNS = 2  # runs before these, which are not counted
MAX_TIMING_S = 0.1  # time after which no further run begins
# quantile of the times of the runs; other processes may have interrupted the slowest tenth
TIMING_QUANTILE = 0.9
MAX_REASON_LENGTH = 300  # characters of an error of ONNX Runtime
CANDIDATES = 16  # number of actions that the deterministic mode draws


@dataclass(frozen=True)
class PolicyInfo:
    """Metadata of a policy.

    Attributes:
        version: Number of the policy in its run, from 1.
        updates: Number of gradient updates of the learner before the export.
        temperature: Temperature alpha that the policy was trained with.
        sha256: Hash of the file, in hexadecimal digits.
        weights_sha256: Hash of the weights, in hexadecimal digits.
        lineage: `weights_sha256` of the policy exported before this one.
        task_code: Hash of the code of the task in the training; empty: not known.
    """

    version: int
    updates: int
    temperature: float
    sha256: str
    weights_sha256: str
    lineage: str
    task_code: str


class QFunction:
    """The Q-function of a policy file, evaluated at any actions.

    Args:
        data: Bytes of a file that `Policy` has accepted.

    Raises:
        PolicyError: The file does not compute Q as a function of the action.
    """

    def __init__(self, data: bytes) -> None:
        self._session = _create_session(extract_q(check_graph(data)))

    def evaluate(
        self, observation: npt.NDArray[np.float32], action: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return Q (K,) at actions (K, A) for one observation (S,)."""
        (q,) = self._session.run(["q"], {"observation": observation[None], "action": action})
        return np.asarray(q, np.float32)


class Policy:
    """A sampling network with its Q-function, checked and ready to act.

    Args:
        data: Bytes of an ONNX file as written by `learning.export`.
        spec: Interface of the actor's task. A policy with another interface is refused.
        ranks: Also load the Q-function, which `candidates`, `ranked` and `tempered` need. Without
            it a policy is loaded in half the time.

    Attributes:
        data: As given.
        spec: As given.
        info: Metadata of the policy.
        noise_size: Number of standard normal numbers that an action needs.

    Raises:
        PolicyError: The file is too large or not ONNX, has operators that are not allowed, broken
            metadata, another interface or other dimensions, or gives a wrong output in a trial run.
    """

    def __init__(self, data: bytes, spec: TaskSpec, *, ranks: bool = True) -> None:
        if len(data) > LARGEST_FILE:
            raise PolicyError(f"policy has {len(data)} bytes, expected at most {LARGEST_FILE}")
        model = check_graph(data)
        self.data = data
        self.spec = spec
        self.info = _read_info(model, data, spec)
        self.noise_size = _read_noise_size(model)
        given = {output.name for output in model.graph.output}
        if not given.issuperset(OUTPUTS):
            raise PolicyError(
                f"policy gives {', '.join(sorted(given)) or 'nothing'}, expected"
                f" {', '.join(OUTPUTS)}"
            )
        # a graph with this output alone: in the whole graph ONNX Runtime would search the way to
        # the output at every run, which takes half as long as computing it
        self._sampler = _create_session(extract_output(model, "action"))
        self._whole = _create_session(data) if ranks else None
        self._outputs = [*OUTPUTS, *(MEAN_OUTPUTS if given.issuperset(MEAN_OUTPUTS) else ())]
        self._check_trial_run()

    def sample(
        self, observation: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Draw one action of the policy.

        Args:
            observation: Observation (S,), in the units of the spec.
            rng: Generator of the noise.

        Returns:
            Action (A,) in [-1, 1]. It may be NaN for an observation that no training had.
        """
        noise = rng.standard_normal((1, self.noise_size), np.float32)
        feed = {"observation": observation[None], "noise": noise}
        (action,) = self._sampler.run(["action"], feed)
        return np.asarray(action[0], np.float32)

    def draw(
        self, observation: npt.NDArray[np.float32], noise: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Compute the actions (K, A) for an observation (S,) and noise (K, `noise_size`)."""
        (action,) = self._sampler.run(
            ["action"], {"observation": observation[None], "noise": noise}
        )
        return np.asarray(action, np.float32)

    def candidates(
        self, observation: npt.NDArray[np.float32], noise: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Compute the actions for given noise, and evaluate Q at them. The policy must have
        `ranks`.

        Args:
            observation: Observation (S,), in the units of the spec.
            noise: Standard normal numbers (K, `noise_size`).

        Returns:
            Actions (K, A) in [-1, 1], and their Q (K,).
        """
        action, q = self._run(list(OUTPUTS), observation, noise)
        return action, q

    def ranked(
        self, observation: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Draw `CANDIDATES` actions and order them by Q: the deterministic mode. The policy must
        have `ranks`.

        The mean of the candidates comes first if its Q is at least their average Q. Where a policy
        has a single mode, Q is concave, and the mean is steadier than the best sample: an arm whose
        commands arrive late trembles less. Between two modes Q is low, and the mean is left out.

        Args:
            observation: Observation (S,), in the units of the spec.
            rng: Generator of the noise.

        Returns:
            Actions in [-1, 1], the preferred one first: (K, A), or (K + 1, A) with the mean.
        """
        noise = rng.standard_normal((CANDIDATES, self.noise_size), np.float32)
        action, q, *mean_outputs = self._run(self._outputs, observation, noise)
        best_first = action[np.argsort(-q, kind="stable")]
        if mean_outputs:
            mean, mean_q = mean_outputs
            if mean_q[0] >= q.mean():
                best_first = np.concatenate((mean, best_first))
        return np.asarray(best_first, np.float32)

    def tempered(
        self, observation: npt.NDArray[np.float32], rng: np.random.Generator, temperature: float
    ) -> npt.NDArray[np.float32]:
        """Draw `CANDIDATES` actions and order them as draws from exp(Q / temperature). The policy
        must have `ranks`.

        The actions are drawn from exp(Q / alpha), where alpha is the policy's own temperature.
        Importance weights correct the difference. A temperature above alpha has the effect of
        alpha.

        Args:
            observation: Observation (S,), in the units of the spec.
            rng: Generator of the noise and of the order.
            temperature: Temperature, above 0.

        Returns:
            Actions (K, A) in [-1, 1], in the order of the draws.
        """
        noise = rng.standard_normal((CANDIDATES, self.noise_size), np.float32)
        action, q, *_ = self._run(self._outputs, observation, noise)
        order = tempered_order(q, temperature, self.info.temperature, rng)
        return np.asarray(action[order], np.float32)

    def inference_s(self) -> float:
        """Measure the processor time of one action [s], on random observations.

        The measured call is `ranked`, or `sample` for a policy without `ranks`.

        Returns:
            The `TIMING_QUANTILE` of `TIMED_RUNS` runs. A slow policy is run fewer times: no run
            begins after `MAX_TIMING_S`.
        """
        act = self.sample if self._whole is None else self.ranked
        return measured_inference_s(act, self.spec.observation_size)

    def _run(
        self,
        outputs: list[str],
        observation: npt.NDArray[np.float32],
        noise: npt.NDArray[np.float32],
    ) -> list[Any]:
        """Compute named outputs for one observation and K rows of noise. The policy must have
        `ranks`.

        Args:
            outputs: Names of the outputs, from `OUTPUTS` and `MEAN_OUTPUTS`.
            observation: Observation (S,).
            noise: Standard normal numbers (K, `noise_size`), one row for each action.

        Returns:
            An array for each name, in this order: "action" (K, A), "q" (K,), "mean" (1, A),
            "mean_q" (1,).
        """
        assert self._whole is not None, "loaded with ranks=False"
        return list(self._whole.run(outputs, {"observation": observation[None], "noise": noise}))

    def _check_trial_run(self) -> None:
        """Run the policy once, and check shapes and values of its outputs.

        The run also makes ONNX Runtime allocate its memory, so that the first action is not late.

        Raises:
            PolicyError: A shape is wrong, or a value is not finite or outside of [-1, 1].
        """
        size = self.spec.action_size
        count = CANDIDATES if self._whole else 1
        observation = np.zeros(self.spec.observation_size, np.float32)
        rng = np.random.default_rng(0)
        try:
            action = self.sample(observation, rng)[None]
            q = np.zeros(1)
            mean_outputs: list[Any] = []
            if self._whole is not None:
                noise = np.zeros((count, self.noise_size), np.float32)
                action, q, *mean_outputs = self._run(self._outputs, observation, noise)
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise PolicyError(
                f"the policy does not take observations ({len(observation)},) and noise (K,"
                f" {self.noise_size}): {error}"
            ) from None
        if action.shape != (count, size) or q.shape != (count,):
            raise PolicyError(
                f"policy gives actions {action.shape} and Q {q.shape}, expected ({count}, {size})"
                f" and ({count},)"
            )
        mean_shapes = [output.shape for output in mean_outputs]
        if mean_shapes and mean_shapes != [(1, size), (1,)]:
            raise PolicyError(
                f"policy gives as their mean {mean_shapes}, expected {[(1, size), (1,)]}"
            )
        if not all(np.isfinite(output).all() for output in (action, q, *mean_outputs)):
            raise PolicyError("policy gives non-finite output for a zero observation")
        if np.abs(action).max() > 1.0:
            raise PolicyError(
                f"policy gives actions up to {np.abs(action).max()}, expected [-1, 1]"
            )


def tempered_order(
    q: npt.NDArray[np.float32], temperature: float, alpha: float, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Order samples of exp(Q / alpha) as draws from exp(Q / temperature), without replacement.

    Args:
        q: Q of the samples (K,).
        temperature: Wanted temperature, above 0. Above alpha it has the effect of alpha.
        alpha: Temperature with which the samples were drawn.
        rng: Generator of Gumbel noise. Samples are ordered by the sum of noise and log weight.

    Returns:
        Indices of the samples in the order of the draws (K,).
    """
    log_weights = q.astype(np.float64) * max(1.0 / temperature - 1.0 / alpha, 0.0)
    return np.argsort(-(log_weights + rng.gumbel(size=len(q))), kind="stable")


def _read_noise_size(model: onnx.ModelProto) -> int:
    """Return the number of standard normal numbers that an action needs, from the shape of "noise".

    It is A, or A + 1 where the sampler also selects a Gaussian of a mixture.

    Raises:
        PolicyError: The model has no input "noise" of two dimensions.
    """
    shapes = {
        item.name: [size.dim_value for size in item.type.tensor_type.shape.dim]
        for item in model.graph.input
    }
    shape = shapes.get("noise", [])
    if len(shape) != 2 or not shape[1]:
        raise PolicyError(
            f"policy has the inputs {shapes}, expected 'observation' and 'noise' of shape (K, noise"
            " size)"
        )
    return int(shape[1])


def _create_session(graph: bytes) -> ort.InferenceSession:
    """Load a graph in ONNX Runtime.

    Args:
        graph: Bytes of an ONNX file.

    Raises:
        PolicyError: ONNX Runtime cannot load it.
    """
    try:
        return ort.InferenceSession(
            graph, _create_session_options(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        # the text begins with a location in the library's source
        reason = " ".join(str(error).split())[-MAX_REASON_LENGTH:]
        raise PolicyError(
            f"ONNX Runtime {ort.__version__} cannot load the policy: {reason}"
        ) from None


def _create_session_options() -> ort.SessionOptions:
    """Return session options for one thread that does not spin, without log messages."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # fatal only: errors are raised as PolicyError
    return options


def measured_inference_s(
    act: Callable[[npt.NDArray[np.float32], np.random.Generator], Any], observation_size: int
) -> float:
    """Measure the processor time of one action [s], on random observations.

    Args:
        act: Takes an observation (S,) and a generator.
        observation_size: Size S.

    Returns:
        The `TIMING_QUANTILE` of `TIMED_RUNS` runs; no run begins after `MAX_TIMING_S`.
    """
    rng = np.random.default_rng(0)
    times: list[float] = []
    for _ in range(WARM_UP_RUNS + TIMED_RUNS):
        observation = rng.standard_normal(observation_size, np.float32)
        began = time.thread_time()
        act(observation, rng)
        times.append(time.thread_time() - began)
        if sum(times) > MAX_TIMING_S:
            break
    return float(np.quantile(times[WARM_UP_RUNS:] or times[-1:], TIMING_QUANTILE))


def read_spec(data: bytes) -> TaskSpec:
    """Return the interface of the task for which a policy was trained, from its metadata.

    Args:
        data: Bytes of an ONNX file.

    Raises:
        PolicyError: The file is too large or not ONNX, has operators that are not allowed, or has
            no such metadata.
    """
    metadata = _metadata_of(data)
    try:
        return TaskSpec.from_json(metadata["spec"])
    except (KeyError, ValueError, TypeError) as error:
        raise PolicyError(f"policy has broken metadata: {error!r}") from None


def read_task_name(data: bytes) -> str:
    """Return the name of the task for which a policy was trained, from its metadata.

    Args:
        data: Bytes of an ONNX file.

    Raises:
        PolicyError: The file is too large or not ONNX, has operators that are not allowed, or has
            no such metadata.
    """
    metadata = _metadata_of(data)
    try:
        name = json.loads(metadata["spec"])["task"]
    except (KeyError, ValueError, TypeError) as error:
        raise PolicyError(f"policy has broken metadata: {error!r}") from None
    if not isinstance(name, str):
        raise PolicyError(f"policy has broken metadata: task {name!r:.80}")
    return name


def _metadata_of(data: bytes) -> dict[str, str]:
    """Check the size and the graph of a policy file, and return its metadata: text by key.

    Args:
        data: Bytes of an ONNX file.

    Raises:
        PolicyError: The file is too large or not ONNX, has operators that are not allowed, or has
            broken metadata.
    """
    if len(data) > LARGEST_FILE:
        raise PolicyError(f"policy has {len(data)} bytes, expected at most {LARGEST_FILE}")
    return _read_metadata(check_graph(data))


def _read_metadata(model: onnx.ModelProto) -> dict[str, str]:
    """Return the metadata of a policy file: text by key.

    Raises:
        PolicyError: They are not text, or have another `format` than `FORMAT`.
    """
    try:
        metadata = {entry.key: entry.value for entry in model.metadata_props}
    except UnicodeDecodeError:
        raise PolicyError("policy has broken metadata: it is no text") from None
    if metadata.get("format") != FORMAT:
        raise PolicyError(
            f"policy has format {metadata.get('format')!r}, expected {FORMAT!r}: was it exported by"
            " sql_ros?"
        )
    return metadata


def _read_info(model: onnx.ModelProto, data: bytes, spec: TaskSpec) -> PolicyInfo:
    """Read the metadata of a policy, and check that its interface is that of a task.

    Args:
        model: The decoded file.
        data: Bytes of the file, for its hash.
        spec: Interface of the task.

    Raises:
        PolicyError: The interface is another one, or the metadata are broken.
    """
    metadata = _read_metadata(model)
    try:
        policy_spec = json.loads(metadata["spec"])
        if metadata["spec"] != spec.to_json():
            raise PolicyError(f"policy is for another interface: {spec.differences(policy_spec)}")
        return PolicyInfo(
            version=int(metadata["version"]),
            updates=int(metadata["updates"]),
            temperature=float(metadata["temperature"]),
            sha256=hashlib.sha256(data).hexdigest(),
            weights_sha256=metadata["weights_sha256"],
            lineage=metadata["lineage"],
            task_code=metadata.get("task_code", ""),
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise PolicyError(f"policy has broken metadata: {error!r}") from None
