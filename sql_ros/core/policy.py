"""The policy that acts: ONNX Runtime on one thread, checked before use. Never imports torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from sql_ros.core.errors import PolicyError
from sql_ros.core.graph_check import check_graph
from sql_ros.core.spec import TaskSpec

FORMAT = "sql_ros.policy/2"
MEAN_OUTPUTS = ("mean", "mean_q")  # (1, A), (1,): of the candidates; policies that have but one candidate leave them out
LARGEST_FILE = 64 * 1024 * 1024  # bytes
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

    Raises:
        PolicyError: too large, not ONNX, operators that are not allowed, other metadata or dimensions, a non-finite output on a trial run.
    """

    def __init__(self, data: bytes, spec: TaskSpec) -> None:
        if len(data) > LARGEST_FILE:
            raise PolicyError(f"policy has {len(data)} bytes, expected at most {LARGEST_FILE}")
        check_graph(data)
        try:
            self._session = ort.InferenceSession(data, _session_options(), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise PolicyError(f"ONNX Runtime cannot load the policy: {' '.join(str(error).split())[:300]}") from None
        self.data, self.spec = data, spec
        self.info = _read_info(self._session, data, spec)
        self._sampling_only = ort.RunOptions()
        self._sampling_only.only_execute_path_to_fetches = True  # leaves out Q where only the action is asked for
        given = {output.name for output in self._session.get_outputs()}
        self._outputs = ["action", "q", *(MEAN_OUTPUTS if given.issuperset(MEAN_OUTPUTS) else ())]
        self.noise_size = _noise_size(self._session)
        self._check_output()

    def sample(self, observation: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Draws one action: observation (S,) -> (A,) in [-1, 1], distributed as exp(Q / alpha) as far as the network learned it."""
        noise = rng.standard_normal((1, self.noise_size), np.float32)
        feed = {"observation": observation[None], "noise": noise}
        (action,) = self._session.run(["action"], feed, self._sampling_only)
        return np.asarray(action[0], np.float32)

    def candidates(
        self, observation: npt.NDArray[np.float32], noise: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Actions (K, A) and their Q (K,) for an observation (S,) and standard normal noise (K, noise size)."""
        action, q = self._session.run(["action", "q"], {"observation": observation[None], "noise": noise})
        return action, q

    def ranked(self, observation: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """The deterministic mode: `CANDIDATES` samples, the one with the highest Q first, (S,) -> (K, A) or (K + 1, A).

        Before them comes their mean, unless Q is lower there than for them in the mean. A policy with one way has a concave Q, and its mean
        is steadier than its best sample: an arm whose commands come late trembles less. Between two ways Q is low.
        """
        noise = rng.standard_normal((CANDIDATES, self.noise_size), np.float32)
        action, q, *of_mean = self._session.run(self._outputs, {"observation": observation[None], "noise": noise})
        best_first = action[np.argsort(-q, kind="stable")]
        if of_mean and of_mean[1][0] >= q.mean():
            best_first = np.concatenate((of_mean[0], best_first))
        return np.asarray(best_first, np.float32)

    def _check_output(self) -> None:
        """Runs once before anyone depends on it: shapes, finite numbers; and warms ONNX Runtime up."""
        size = self.spec.action_size
        observation = np.zeros(self.spec.observation_size, np.float32)
        try:
            noise = np.zeros((CANDIDATES, self.noise_size), np.float32)
            action, q, *of_mean = self._session.run(self._outputs, {"observation": observation[None], "noise": noise})
            self.sample(observation, np.random.default_rng(0))
        except Exception as error:  # see __init__
            raise PolicyError(
                f"the policy does not take observations ({len(observation)},) and noise (K, {self.noise_size}): {error}"
            ) from None
        if action.shape != (CANDIDATES, size) or q.shape != (CANDIDATES,):
            raise PolicyError(f"policy gives actions {action.shape} and Q {q.shape}, expected ({CANDIDATES}, {size}) and ({CANDIDATES},)")
        if of_mean and [output.shape for output in of_mean] != [(1, size), (1,)]:
            raise PolicyError(f"policy gives as their mean {[output.shape for output in of_mean]}, expected {[(1, size), (1,)]}")
        if not all(np.isfinite(output).all() for output in (action, q, *of_mean)):
            raise PolicyError("policy gives non-finite output for a zero observation")
        if np.abs(action).max() > 1.0:
            raise PolicyError(f"policy gives actions up to {np.abs(action).max()}, expected [-1, 1]")


def _noise_size(session: ort.InferenceSession) -> int:
    """Standard normal numbers that one action takes: A, or one more where the sampler also chooses a component."""
    shapes = {item.name: item.shape for item in session.get_inputs()}
    shape = shapes.get("noise")
    if shape is None or len(shape) != 2 or not isinstance(shape[1], int):
        raise PolicyError(f"policy has the inputs {shapes}, expected 'observation' and 'noise' of shape (K, noise size)")
    return shape[1]


def _session_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised as PolicyError
    return options


def _read_info(session: ort.InferenceSession, data: bytes, spec: TaskSpec) -> PolicyInfo:
    try:
        metadata = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise PolicyError("policy has broken metadata: it is no text") from None
    if metadata.get("format") != FORMAT:
        raise PolicyError(f"policy has format {metadata.get('format')!r}, expected {FORMAT!r}: was it exported by sql_ros?")
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
