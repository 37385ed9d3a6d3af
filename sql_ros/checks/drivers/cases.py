"""The cases as data: actions of a driver, and the reactions that the stack must show. `row.py`
plays them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PLAY = "play"
TRAIN = "train"
TRIALS = "trials"
MODES = (PLAY, TRAIN, TRIALS)


@dataclass(frozen=True)
class CaseStep:
    """One step of a case: an expected reaction, or an action.

    ==========  ==============================================================================
    kind        meaning
    ==========  ==============================================================================
    moves       the arm moves, as it is commanded
    holds       /diagnostics reports a hold with all `words`, and the arm rests; before the
                first motion of the case it has not moved at all
    waits       /diagnostics reports that a start is needed, with all `words`, and the arm
                rests until `~/start` is called
    identifies  /diagnostics reports that the arm is being identified
    resumes     the arm moves again, after a call of `~/start` if one is needed
    refused     the start ends with exit code 2 and all `words` on the terminal, without a
                command
    silent      no command is sent, and the arm does not move
    notices     as holds, but the arm may have moved before
    rests       the arm is at rest `words[0]` [s] after the action before
    learns      transitions are published on the replay topic
    asks        the trials ask their operator for something: the prompt begins with `words[0]`
    tries       the trials end with exit code 0, and all `words` are in their report
    do          the action `words[0]` is done: a method of `DriverDouble` or `StackUnderTest`
    ==========  ==============================================================================

    Attributes:
        kind: Name in this table.
        words: Texts whose meaning the table says. `row.py` replaces names in braces, such as
            `{joint}`; of texts separated by `|` one is enough in a hold.
    """

    kind: str
    words: tuple[str, ...] = ()


MOVES = CaseStep("moves")
SILENT = CaseStep("silent")
WAITS = CaseStep("waits")
RESUMES = CaseStep("resumes")
WAITS_TO_IDENTIFY = CaseStep("waits", ("not identified yet",))
IS_IDENTIFIED = CaseStep("waits", ("the arm is identified", "latency"))
LEARNS = CaseStep("learns")
TRIES = CaseStep("tries")


def holds(*words: str) -> CaseStep:
    """Return the step in which the stack must hold the arm and report the hold with all these
    words.
    """
    return CaseStep("holds", words)


def notices(*words: str) -> CaseStep:
    """Return the step in which the stack must detect an error in the arm's motion, hold the arm and
    report the hold with all these words.
    """
    return CaseStep("notices", words)


def refused(*words: str) -> CaseStep:
    """Return the step in which the stack must refuse to start, with all these words on the
    terminal.
    """
    return CaseStep("refused", words)


def rests(seconds: float) -> CaseStep:
    """Return the step in which the arm must be at rest some time after the action before.

    Args:
        seconds: Time after the action [s].
    """
    return CaseStep("rests", (str(seconds),))


def asks(word: str) -> CaseStep:
    """Return the step in which the trials must ask their operator for something.

    Args:
        word: Beginning of the prompt.
    """
    return CaseStep("asks", (word,))


def do(action: str) -> CaseStep:
    """Return the step in which an action is done.

    Args:
        action: Name of a method without arguments, of `DriverDouble` or `StackUnderTest`.
    """
    return CaseStep("do", (action,))


@dataclass(frozen=True)
class DriverCase:
    """Actions of a driver, and the reactions that the stack must show.

    Attributes:
        steps: Actions and expected reactions, in order.
        habits: Fields of `StateHabits` that differ from the arm's.
        controller: Controller at the start: "active"; "none": not loaded; "other": one that takes
            another type of message than the arm's.
        robot: Keys of the robot file that differ from the arm's; the value None removes the key.
        arguments: Launch arguments by name, beside those of every row.
        start: What is started: "stack" (in the mode "trials" `sql-ros trials`), or "actor": only
            that node.
        protocol: Protocol of the mode "trials", in YAML as in config/trials/.
        servo_s: Time constant with which a joint follows its command [s].
        speed_slider: Setting of the pendant's slider: share of its speed at which a trajectory
            progresses.
        wiring: Error of the driver in passing commands on, for `plant.wiring_matrix`.
        is_known: Whether a record says that the arm was identified.
        described: Universal Robots arm whose URDF is published, for `urdf.ur_description`; empty:
            none is published.
    """

    steps: tuple[CaseStep, ...]
    habits: Mapping[str, object] = field(default_factory=dict)
    controller: str = "active"
    robot: Mapping[str, object] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    start: str = "stack"
    protocol: str = "repeats: 50\nundisturbed: [0]\n"
    servo_s: float = 0.01
    speed_slider: float = 1.0
    wiring: str = "right"
    is_known: bool = True
    described: str = ""

    @property
    def is_calm(self) -> bool:
        """Return whether no step expects a hold, a refusal or an action: the arm must not be held
        at work.
        """
        return {step.kind for step in self.steps} <= {"moves", "learns", "tries"}


FROM_POSITION = {"velocity_from_position": True}

CASES: dict[str, DriverCase] = {
    # --- habits that are accepted
    "nominal": DriverCase((MOVES,)),
    "best_effort": DriverCase((MOVES,), {"reliable": False}),
    "rate_125": DriverCase((MOVES,), {"rate_hz": 125.0}),
    "rate_250": DriverCase((MOVES,), {"rate_hz": 250.0}),
    "rate_1000": DriverCase((MOVES,), {"rate_hz": 1000.0, "reliable": False}),
    "order_reversed": DriverCase((MOVES,), {"order": "reversed"}),
    "gripper_inside": DriverCase((MOVES,), {"gripper": "inside"}),
    "gripper_beside": DriverCase((MOVES,), {"gripper": "beside"}),
    "prefix": DriverCase((MOVES,), {"prefix": "left_"}, robot={"joint_prefix": "left_"}),
    "effort_nan": DriverCase((MOVES,), {"effort": "nan"}),
    "effort_empty": DriverCase((MOVES,), {"effort": "empty"}),
    "velocity_empty_option": DriverCase((MOVES,), {"velocity": "empty"}, robot=FROM_POSITION),
    "velocity_nan_option": DriverCase((MOVES,), {"velocity": "nan"}, robot=FROM_POSITION),
    "jitter": DriverCase((MOVES,), {"jitter": 0.9}),
    "dropouts": DriverCase((MOVES,), {"dropout": 0.3}),
    "encoder_noise": DriverCase((MOVES,), {"noise_rad": 1e-4}),
    "encoder_noise_option": DriverCase(
        (MOVES,), {"noise_rad": 1e-4, "velocity": "nan"}, robot=FROM_POSITION
    ),
    "stamps_zero": DriverCase((MOVES,), {"stamps": "zero"}),
    "clock_steps_back": DriverCase(
        (MOVES, do("step_clock"), holds("leaped back")), robot={"own_clock": True}
    ),
    "slow_servo": DriverCase((MOVES,), servo_s=0.05),
    "speed_slider": DriverCase((MOVES,), speed_slider=0.5),
    "driver_restarts": DriverCase((MOVES, do("restart_driver"), RESUMES)),
    # --- habits that are a hold
    "velocity_empty": DriverCase((holds("velocity_from_position"),), {"velocity": "empty"}),
    "velocity_nan": DriverCase((holds("velocity_from_position"),), {"velocity": "nan"}),
    "stamps_frozen": DriverCase((holds("stamp"),), {"stamps": "frozen"}),
    "other_clock": DriverCase((holds("own_clock"),), {"stamps": "other_clock"}),
    "name_twice": DriverCase((holds("{joint}"),), {"duplicate": True}),
    "two_publishers": DriverCase((holds("{driver}", "{other}"),), {"second": True}),
    "second_publisher_comes": DriverCase(
        (
            MOVES,
            do("start_second_publisher"),
            holds("{driver}", "{other}"),
            do("end_second_publisher"),
            WAITS,
            MOVES,
        )
    ),
    "other_joints": DriverCase((SILENT,), {"prefix": "right_"}, robot={"joint_prefix": "left_"}),
    "states_stop": DriverCase(
        (MOVES, do("stop_states"), holds("state_too_old"), do("resume_states"), WAITS, MOVES)
    ),
    # --- controllers
    "controller_late": DriverCase(
        (holds("{controller}"), do("load_controller"), MOVES), controller="none"
    ),
    "controller_dies": DriverCase(
        (MOVES, do("unload_controller"), holds("{controller}"), do("load_controller"), WAITS, MOVES)
    ),
    "controller_other_type": DriverCase((holds("{controller}"),), controller="other"),
    "mode_without_controller": DriverCase(
        (refused("controllers", "{mode}"),), robot={"controllers": {}}
    ),
    "effort_not_accepted": DriverCase(
        (refused("accept_effort_without_timeout"),),
        robot={"accept_effort_without_timeout": None},
    ),
    "protective_stop": DriverCase(
        (MOVES, do("stop"), holds("not_following"), do("release"), WAITS, MOVES)
    ),
    "started_while_stopped": DriverCase(
        (MOVES, do("stop"), holds("not_following"), do("release_after_start"), RESUMES)
    ),
    # --- drivers that execute commands wrongly
    "sign_flipped": DriverCase(
        (notices("not_following", "{second}", "against its commands"),), wiring="flipped"
    ),
    # the first of the two that is told to move may be found to stand still
    "joints_swapped": DriverCase(
        (notices("not_following", "was told|order of the joints"),), wiring="swapped"
    ),
    "scale_doubled": DriverCase(
        (notices("not_following", "{second}", "times as far"),), wiring="doubled"
    ),
    "identified": DriverCase(
        (WAITS_TO_IDENTIFY, CaseStep("identifies"), IS_IDENTIFIED, MOVES), is_known=False
    ),
    "identified_wrong_sign": DriverCase(
        (WAITS_TO_IDENTIFY, notices("start_needed", "not_following", "{second}", "sign")),
        wiring="flipped",
        is_known=False,
    ),
    "described": DriverCase(
        (MOVES,), {"prefix": "left_"}, robot={"joint_prefix": "left_"}, described="ur5e"
    ),
    "another_arm_described": DriverCase((holds("wrong_arm", "mm away"),), described="ur5"),
    # --- ends
    "actor_killed": DriverCase((MOVES, do("kill_actor"), rests(0.3))),
    "stack_killed": DriverCase((MOVES, do("kill_stack"), rests(0.5))),
    "stack_terminated": DriverCase((MOVES, do("terminate_stack"), rests(0.5))),
    # --- starts
    "dry_run": DriverCase((SILENT,), arguments={"dry_run": "true"}),
    "learner_missing": DriverCase((holds("learner_missing"),), start="actor"),
    "resume_mistyped": DriverCase(
        (refused("nowhere"),), arguments={"run_dir": "runs/nowhere", "resume": "true"}
    ),
    "policy_of_another_arm": DriverCase(
        (refused("policy"),), arguments={"policy": "{foreign_policy}"}
    ),
    # --- training and trials
    "trained": DriverCase((MOVES, LEARNS)),
    "tried": DriverCase((MOVES, TRIES), protocol="repeats: 1\nundisturbed: [0]\n"),
    "pushed_effort_nan": DriverCase(
        (
            MOVES,
            asks("the arm stands: lay a hand"),
            CaseStep("tries", ("by motion alone",)),
        ),
        {"effort": "nan"},
        protocol="repeats: 1\nundisturbed: []\npush_n: [20]\n",
    ),
    # --- Rethink's own interface
    "emergency_stop": DriverCase((MOVES, do("press"), holds("emergency stop"))),
}
