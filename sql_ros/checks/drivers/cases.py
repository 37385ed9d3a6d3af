"""The cases: what a driver does, and what the stack must do then. Data; `row.py` plays them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PLAY, TRAIN, TRIALS = MODES = ("play", "train", "trials")


@dataclass(frozen=True)
class Step:
    """One step of a case: an expectation, or something that is done.

    ==========  ===============================================================================
    kind        meaning
    ==========  ===============================================================================
    moves       the arm moves, as it is commanded
    holds       /diagnostics says a hold with all `words`, and the arm rests; before the first
                motion it has not moved at all
    notices     /diagnostics says a hold with all `words`, which may end by itself
    refused     the start ends with exit code 2, all `words` on the terminal, and no command left
    silent      no command leaves, and the arm does not move
    rests       the arm comes to rest within `words[0]` [s] of the action before
    learns      transitions reach the replay topic
    asks        the trials ask their operator for something, with `words[0]`
    tries       the trials are over, with all `words` in its report
    do          `words[0]` is done: an action of `double.DriverDouble`, or of `stack.Stack`
    ==========  ===============================================================================
    """

    kind: str
    words: tuple[str, ...] = ()


MOVES, SILENT = Step("moves"), Step("silent")
LEARNS, TRIES = Step("learns"), Step("tries")


def holds(*words: str) -> Step:
    """Return the step in which the stack holds and says these words."""
    return Step("holds", words)


def notices(*words: str) -> Step:
    """Return the step in which the stack says these words of a hold that it may try to end."""
    return Step("notices", words)


def refused(*words: str) -> Step:
    """Return the step in which the stack refuses to start with these words."""
    return Step("refused", words)


def rests(seconds: float) -> Step:
    """Return the step in which the arm comes to rest within a time [s]."""
    return Step("rests", (str(seconds),))


def do(action: str) -> Step:
    """Return the step in which something is done."""
    return Step("do", (action,))


@dataclass(frozen=True)
class Case:
    """What a driver does, and what the stack must do.

    Attributes:
        steps: in order.
        habits: fields of `StateHabits` that differ from the arm's.
        controller: "active"; "none" at first; "other": of another type than the arm's topic needs.
        robot: keys of the robot file that differ from the arm's; None: the key is left out.
        arguments: launch arguments.
        start: "stack", or "actor": that node alone.
        protocol: of trials, as in config/trials/.
        servo_s: time constant with which a joint follows its command [s].
        speed_slider: of the pendant: share at which a trajectory progresses.
    """

    steps: tuple[Step, ...]
    habits: Mapping[str, object] = field(default_factory=dict)
    controller: str = "active"
    robot: Mapping[str, object] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    start: str = "stack"
    protocol: str = "repeats: 50\nundisturbed: [0]\n"
    servo_s: float = 0.01
    speed_slider: float = 1.0

    @property
    def is_calm(self) -> bool:
        """Nothing happens in it for which the arm should be held."""
        return {step.kind for step in self.steps} <= {"moves", "learns", "tries"}


FROM_POSITION = {"velocity_from_position": True}

CASES: dict[str, Case] = {
    # --- habits that are accepted
    "nominal": Case((MOVES,)),
    "best_effort": Case((MOVES,), {"reliable": False}),
    "rate_125": Case((MOVES,), {"rate_hz": 125.0}),
    "rate_250": Case((MOVES,), {"rate_hz": 250.0}),
    "rate_1000": Case((MOVES,), {"rate_hz": 1000.0, "reliable": False}),
    "order_reversed": Case((MOVES,), {"order": "reversed"}),
    "gripper_inside": Case((MOVES,), {"gripper": "inside"}),
    "gripper_beside": Case((MOVES,), {"gripper": "beside"}),
    "prefix": Case((MOVES,), {"prefix": "left_"}, robot={"joint_prefix": "left_"}),
    "effort_nan": Case((MOVES,), {"effort": "nan"}),
    "effort_empty": Case((MOVES,), {"effort": "empty"}),
    "velocity_empty_option": Case((MOVES,), {"velocity": "empty"}, robot=FROM_POSITION),
    "velocity_nan_option": Case((MOVES,), {"velocity": "nan"}, robot=FROM_POSITION),
    "jitter": Case((MOVES,), {"jitter": 0.9}),
    "dropouts": Case((MOVES,), {"dropout": 0.3}),
    "encoder_noise": Case((MOVES,), {"noise_rad": 1e-4}),
    "encoder_noise_option": Case((MOVES,), {"noise_rad": 1e-4, "velocity": "nan"}, robot=FROM_POSITION),
    "stamps_zero": Case((MOVES,), {"stamps": "zero"}),
    "other_clock": Case((MOVES,), {"stamps": "other_clock"}),
    "clock_steps_back": Case((MOVES, do("step_clock"), MOVES)),
    "slow_servo": Case((MOVES,), servo_s=0.05),
    "speed_slider": Case((MOVES,), speed_slider=0.5),
    "driver_restarts": Case((MOVES, do("restart_driver"), MOVES)),
    # --- habits that are a hold
    "velocity_empty": Case((holds("velocity_from_position"),), {"velocity": "empty"}),
    "velocity_nan": Case((holds("velocity_from_position"),), {"velocity": "nan"}),
    "stamps_frozen": Case((holds("stamp"),), {"stamps": "frozen"}),
    "name_twice": Case((holds("{joint}"),), {"duplicate": True}),
    "two_publishers": Case((holds("{driver}", "{other}"),), {"second": True}),
    "second_publisher_comes": Case((MOVES, do("second_on"), holds("{driver}", "{other}"), do("second_off"), MOVES)),
    "other_joints": Case((SILENT,), {"prefix": "right_"}, robot={"joint_prefix": "left_"}),
    "states_stop": Case((MOVES, do("silence"), holds("state_too_old"), do("speak"), MOVES)),
    # --- controllers
    "controller_late": Case((holds("{controller}"), do("load_controller"), MOVES), controller="none"),
    "controller_dies": Case((MOVES, do("unload_controller"), holds("{controller}"), do("load_controller"), MOVES)),
    "controller_other_type": Case((holds("{controller}"),), controller="other"),
    "mode_without_controller": Case((refused("controllers", "{mode}"),), robot={"controllers": {}}),
    "effort_not_accepted": Case(
        (refused("accept_effort_without_timeout"),),
        robot={"accept_effort_without_timeout": None},
    ),
    "protective_stop": Case((MOVES, do("stop"), notices("not_following"), do("release"), MOVES)),
    "release_during_attempt": Case((MOVES, do("stop"), notices("not_following"), do("release_during_attempt"), MOVES)),
    # --- ends
    "actor_killed": Case((MOVES, do("kill_actor"), rests(0.3))),
    "stack_killed": Case((MOVES, do("kill_stack"), rests(0.5))),
    "stack_terminated": Case((MOVES, do("terminate_stack"), rests(0.5))),
    # --- starts
    "dry_run": Case((SILENT,), arguments={"dry_run": "true"}),
    "learner_missing": Case((holds("learner_missing"),), start="actor"),
    "resume_mistyped": Case((refused("nowhere"),), arguments={"run_dir": "runs/nowhere", "resume": "true"}),
    "policy_of_another_arm": Case((refused("policy"),), arguments={"policy": "{foreign_policy}"}),
    # --- training and trials
    "trained": Case((MOVES, LEARNS)),
    "tried": Case((MOVES, TRIES), protocol="repeats: 1\nundisturbed: [0]\n"),
    "pushed_effort_nan": Case(
        (MOVES, Step("asks", ("push",)), do("push"), Step("tries", ("by motion alone",))),
        {"effort": "nan"},
        protocol="repeats: 1\nundisturbed: []\npush_n: [20]\n",
    ),
    # --- Rethink's own interface
    "emergency_stop": Case((MOVES, do("press"), holds("emergency stop"))),
}
