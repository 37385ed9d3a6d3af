"""The policy that acts: ONNX Runtime on one thread, checked before use. Never imports torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from sql_ros.core.errors import PolicyError
from sql_ros.core.graph_check import check_graph, part_for
from sql_ros.core.spec import TaskSpec

FORMAT = "sql_ros.policy/2"
OUTPUTS = ("action", "q")  # (K, A), (K,)
MEAN_OUTPUTS = ("mean", "mean_q")  # (1, A), (1,): of the candidates; policies that have but one candidate leave them out
LARGEST_FILE = 64 * 1024 * 1024  # bytes
LONGEST_REASON = 300  # characters of an error of ONNX Runtime
CANDIDATES = 16  # drawn by the deterministic mode


@dataclass(frozen=True)
class PolicyInfo:
    """What a policy says of itself in its metadata."""

    version: int
    updates: int
    temperature: float
    sha256: str  # of the file
    weights_sha256: str
    lineage: str  # weights_sha256 of the policy before


class Policy:
    """A sampling network with its Q-function, ready to act.

    Args:
        data: an ONNX file as written by `core.export`.
        spec: what the actor expects; a policy of another task, joint order, scale or rate is refused.
        ranks: `ranked` and `candidates` will be asked for, too; without Q a policy is loaded in half the time.

    Raises:
        PolicyError: too large, not ONNX, operators that are not allowed, other metadata or dimensions, a non-finite output on a trial run.
    """

    def __init__(self, data: bytes, spec: TaskSpec, *, ranks: bool = True) -> None:
        if len(data) > LARGEST_FILE:
            raise PolicyError(f"policy has {len(data)} bytes, expected at most {LARGEST_FILE}")
        model = check_graph(data)
        self.data, self.spec = data, spec
        self.info = _read_info(model, data, spec)
        self.noise_size = _noise_size(model)
        given = {output.name for output in model.graph.output}
        if not given.issuperset(OUTPUTS):
            raise PolicyError(f"policy gives {', '.join(sorted(given)) or 'nothing'}, expected {', '.join(OUTPUTS)}")
        # apart from the whole: to look for the path to one of several outputs takes ONNX Runtime half as long as to run it, at every run
        self._sampler = _session(part_for(model, "action"))
        self._whole = _session(data) if ranks else None
        self._outputs = [*OUTPUTS, *(MEAN_OUTPUTS if given.issuperset(MEAN_OUTPUTS) else ())]
        self._check_output()

    def sample(self, observation: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Draws one action: observation (S,) -> (A,) in [-1, 1], distributed as exp(Q / alpha) as far as the network learned it."""
        noise = rng.standard_normal((1, self.noise_size), np.float32)
        feed = {"observation": observation[None], "noise": noise}
        (action,) = self._sampler.run(["action"], feed)
        return np.asarray(action[0], np.float32)

    def candidates(
        self, observation: npt.NDArray[np.float32], noise: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Actions (K, A) and their Q (K,) for an observation (S,) and standard normal noise (K, noise size)."""
        action, q = self._run(list(OUTPUTS), observation, noise)
        return action, q

    def ranked(self, observation: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """The deterministic mode: `CANDIDATES` samples, the one with the highest Q first, (S,) -> (K, A) or (K + 1, A).

        Before them comes their mean, unless Q is lower there than for them in the mean. A policy with one way has a concave Q, and its mean
        is steadier than its best sample: an arm whose commands come late trembles less. Between two ways Q is low.
        """
        noise = rng.standard_normal((CANDIDATES, self.noise_size), np.float32)
        action, q, *of_mean = self._run(self._outputs, observation, noise)
        best_first = action[np.argsort(-q, kind="stable")]
        if of_mean and of_mean[1][0] >= q.mean():
            best_first = np.concatenate((of_mean[0], best_first))
        return np.asarray(best_first, np.float32)

    def tempered(self, observation: npt.NDArray[np.float32], rng: np.random.Generator, temperature: float) -> npt.NDArray[np.float32]:
        """Draw `CANDIDATES` samples and order them as draws from exp(Q / temperature): (S,) -> (K, A).

        The samples are of exp(Q / alpha), alpha being the policy's own temperature; importance weights
        make up for the difference. A higher temperature than alpha would need samples that these are
        not, and counts as alpha.
        """
        noise = rng.standard_normal((CANDIDATES, self.noise_size), np.float32)
        action, q, *_ = self._run(self._outputs, observation, noise)
        order = tempered_order(q, temperature, self.info.temperature, rng)
        return np.asarray(action[order], np.float32)

    def _run(self, outputs: list[str], observation: npt.NDArray[np.float32], noise: npt.NDArray[np.float32]) -> list[Any]:
        assert self._whole is not None, "loaded with ranks=False"
        return list(self._whole.run(outputs, {"observation": observation[None], "noise": noise}))

    def _check_output(self) -> None:
        """Runs once before anyone depends on it: shapes, finite numbers; and warms ONNX Runtime up."""
        size, count = self.spec.action_size, CANDIDATES if self._whole else 1
        observation, rng = np.zeros(self.spec.observation_size, np.float32), np.random.default_rng(0)
        try:
            action, q, of_mean = self.sample(observation, rng)[None], np.zeros(1), []
            if self._whole is not None:
                action, q, *of_mean = self._run(self._outputs, observation, np.zeros((count, self.noise_size), np.float32))
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise PolicyError(
                f"the policy does not take observations ({len(observation)},) and noise (K, {self.noise_size}): {error}"
            ) from None
        if action.shape != (count, size) or q.shape != (count,):
            raise PolicyError(f"policy gives actions {action.shape} and Q {q.shape}, expected ({count}, {size}) and ({count},)")
        if of_mean and [output.shape for output in of_mean] != [(1, size), (1,)]:
            raise PolicyError(f"policy gives as their mean {[output.shape for output in of_mean]}, expected {[(1, size), (1,)]}")
        if not all(np.isfinite(output).all() for output in (action, q, *of_mean)):
            raise PolicyError("policy gives non-finite output for a zero observation")
        if np.abs(action).max() > 1.0:
            raise PolicyError(f"policy gives actions up to {np.abs(action).max()}, expected [-1, 1]")


def tempered_order(q: npt.NDArray[np.float32], temperature: float, alpha: float, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return an order in which samples of exp(Q / alpha) are drawn from exp(Q / temperature), without putting back.

    Args:
        q: Q of the samples (K,).
        temperature: Larger than 0; above alpha it counts as alpha.
        alpha: Temperature of the samples.
        rng: Draws the Gumbel noise, whose largest sum with log weights is a draw.
    """
    log_weights = q.astype(np.float64) * max(1.0 / temperature - 1.0 / alpha, 0.0)
    return np.argsort(-(log_weights + rng.gumbel(size=len(q))), kind="stable")


def _noise_size(model: onnx.ModelProto) -> int:
    """Standard normal numbers that one action takes: A, or one more where the sampler also chooses a component."""
    shapes = {item.name: [size.dim_value for size in item.type.tensor_type.shape.dim] for item in model.graph.input}
    shape = shapes.get("noise", [])
    if len(shape) != 2 or not shape[1]:
        raise PolicyError(f"policy has the inputs {shapes}, expected 'observation' and 'noise' of shape (K, noise size)")
    return int(shape[1])


def _session(graph: bytes) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(graph, _session_options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        reason = " ".join(str(error).split())[-LONGEST_REASON:]  # it begins with a place in the library's source
        raise PolicyError(f"ONNX Runtime {ort.__version__} cannot load the policy: {reason}") from None


def _session_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised as PolicyError
    return options


def read_task_name(data: bytes) -> str:
    """Return the name of the task that a policy was trained for, by its metadata.

    Raises:
        PolicyError: Too large, not ONNX, operators that are not allowed, or no such metadata.
    """
    if len(data) > LARGEST_FILE:
        raise PolicyError(f"policy has {len(data)} bytes, expected at most {LARGEST_FILE}")
    metadata = _read_metadata(check_graph(data))
    try:
        name = json.loads(metadata["spec"])["task"]
    except (KeyError, ValueError, TypeError) as error:
        raise PolicyError(f"policy has broken metadata: {error!r}") from None
    if not isinstance(name, str):
        raise PolicyError(f"policy has broken metadata: task {name!r:.80}")
    return name


def _read_metadata(model: onnx.ModelProto) -> dict[str, str]:
    try:
        metadata = {entry.key: entry.value for entry in model.metadata_props}
    except UnicodeDecodeError:
        raise PolicyError("policy has broken metadata: it is no text") from None
    if metadata.get("format") != FORMAT:
        raise PolicyError(f"policy has format {metadata.get('format')!r}, expected {FORMAT!r}: was it exported by sql_ros?")
    return metadata


def _read_info(model: onnx.ModelProto, data: bytes, spec: TaskSpec) -> PolicyInfo:
    metadata = _read_metadata(model)
    try:
        theirs = json.loads(metadata["spec"])
        if metadata["spec"] != spec.to_json():
            raise PolicyError(f"policy is for another interface: {spec.differences(theirs)}")
        return PolicyInfo(
            version=int(metadata["version"]),
            updates=int(metadata["updates"]),
            temperature=float(metadata["temperature"]),
            sha256=hashlib.sha256(data).hexdigest(),
            weights_sha256=metadata["weights_sha256"],
            lineage=metadata["lineage"],
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise PolicyError(f"policy has broken metadata: {error!r}") from None
