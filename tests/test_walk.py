"""One transition, end to end, without ROS: the walk of CONTRIBUTING.md as code. Read this first.

1 a state arrives, 2 an action leaves, 3 the transition is finished, 4 it enters the buffer, 5
gradients, 6 a policy is exported, 7 it is acting. In the stack the same calls are made by
`nodes/actor_node.py` (1, 2, 3, 7) and `nodes/learner_node.py` (4, 5, 6).
"""

import numpy as np

from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.trainer import Trainer
from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.tasks import load_task
from sql_ros.runs.rollout import SimulatedArm


def test_the_walk_of_a_transition():
    task = load_task("sawyer_reach")
    arm = SimulatedArm(task)
    actor = Actor(task, seed=0)
    pace = TrainerConfig(replay_capacity=1000, warmup_transitions=20, updates_per_transition=0.5)
    trainer = Trainer(
        task.spec, pace, AlgorithmConfig(hidden_sizes=(32, 32), batch_size=16), seed=0
    )

    while trainer.replay.added < 60:
        state = arm.state()  # 1  observation: task.observe(state, episode), in the actor
        # 2  policy, or uniform actions while there is none; then the safety filter
        step = actor.step(state)
        arm.sim.command(task.config.command_mode, step.command)
        arm.sim.advance(25)
        if step.transition is not None:  # 3  s, a, r, s'
            trainer.add(step.transition)  # 4
        while trainer.updates_due > 0:
            trainer.update()  # 5  losses.soft_value, losses.q_loss, losses.fitting_gradient
    exported = trainer.export()  # 6
    actor.policy = Policy(exported, task.spec)  # 7  checked, warmed up, one assignment

    versions = [
        step.policy_version for step in (arm.follow(actor) for _ in range(5)) if step.transition
    ]
    assert trainer.learner.updates == 20
    assert versions[-1] == 1
    last = trainer.replay.arrays()
    np.testing.assert_array_equal(last["next_observation"][40], last["observation"][41])
