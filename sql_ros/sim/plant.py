"""Differences between a simulated arm and its model: drawn variations, payload and pushes."""

from __future__ import annotations

from typing import Any

import numpy as np

from sql_ros.robot.arm import Vector
from sql_ros.robot.task import Variation
from sql_ros.trials.disturbance import Disturbance


class Plant:
    """Changes of the physical properties of a simulated arm, and external forces on it.

    Args:
        model: A `mujoco.MjModel`. Its friction, damping, armature and masses are changed in place.
        data: Its `mujoco.MjData`. `xfrc_applied` is overwritten.
        hand: Index of the body that carries a payload.
    """

    def __init__(self, model: Any, data: Any, hand: int) -> None:
        self._model = model
        self._data = data
        self._hand = hand
        self._nominal_friction = model.geom_friction.copy()
        self._nominal_damping = model.dof_damping.copy()
        self._nominal_armature = model.dof_armature.copy()
        self._nominal_mass = model.body_mass.copy()
        self._drawn_friction = self._nominal_friction.copy()
        self._drawn_damping = self._nominal_damping.copy()
        self._push: Disturbance | None = None
        self._push_start = 0  # number of the physics step at which the push began

    @property
    def is_pushed(self) -> bool:
        """Return whether a push is under way."""
        return self._push is not None

    def vary(self, variation: Variation, rng: np.random.Generator) -> None:
        """Draw friction, damping and armature, each value by itself, around those of the model.

        Args:
            variation: Largest relative change of each property.
            rng: Generator that is advanced.
        """
        model = self._model
        for values, nominal, share in (
            (model.geom_friction, self._nominal_friction, variation.friction),
            (model.dof_damping, self._nominal_damping, variation.damping),
            (model.dof_armature, self._nominal_armature, variation.armature),
        ):
            values[:] = nominal * (1.0 + share * rng.uniform(-1.0, 1.0))
        self._drawn_friction = model.geom_friction.copy()
        self._drawn_damping = model.dof_damping.copy()

    def restore(self) -> None:
        """Restore the values that `vary` drew last; remove payload and push.

        Before the first `vary` these are the values of the model.
        """
        self._model.geom_friction[:] = self._drawn_friction
        self._model.dof_damping[:] = self._drawn_damping
        self._model.body_mass[:] = self._nominal_mass
        self._data.xfrc_applied[:] = 0.0
        self._push = None

    def scale_friction(self, factor: float) -> None:
        """Set the contact friction to the drawn values times a factor."""
        self._model.geom_friction[:] = self._drawn_friction * factor

    def scale_damping(self, factor: float) -> None:
        """Set the joint damping to the drawn values times a factor."""
        self._model.dof_damping[:] = self._drawn_damping * factor

    def load(self, payload_kg: float, step: int) -> None:
        """Put a payload on the hand, in place of an earlier one.

        The weight acts as an external force, because the arm's gravity compensation does not know
        the payload.

        Args:
            payload_kg: Mass of the payload [kg].
            step: Number of the present physics step.
        """
        self._model.body_mass[self._hand] = self._nominal_mass[self._hand] + payload_kg
        self.apply_forces(step)

    def push(self, push: Disturbance, step: int) -> None:
        """Begin a push, in place of one that is under way.

        Args:
            push: Body, force, duration and ramp of the push.
            step: Number of the physics step at which it begins.

        Raises:
            ValueError: The model has no body of the push's name.
        """
        self._body(push.body)
        self._push = push
        self._push_start = step

    def push_force(self, step: int) -> Vector:
        """Return the force of the push at a physics step (3,) [N]; zeros without a push.

        The force is constant for the push's duration, and then falls to zero linearly during its
        ramp.
        """
        push = self._push
        if push is None:
            return np.zeros(3)
        elapsed_s = (step - self._push_start) * self._model.opt.timestep
        left_s = push.duration_s + push.ramp_s - elapsed_s
        strength = min(left_s / push.ramp_s, 1.0) if push.ramp_s else float(left_s > 0.0)
        return max(strength, 0.0) * np.array(push.vector)

    def apply_forces(self, step: int) -> None:
        """Write the external forces at a physics step into the data: weight of the payload, and
        push.

        A push whose force has become zero is removed.

        Args:
            step: Number of the physics step.
        """
        forces = self._data.xfrc_applied
        forces[:] = 0.0
        payload_kg = self._model.body_mass[self._hand] - self._nominal_mass[self._hand]
        forces[self._hand, :3] += payload_kg * self._model.opt.gravity
        if self._push is not None:
            force = self.push_force(step)
            forces[self._body(self._push.body), :3] += force
            if not force.any():
                self._push = None

    def _body(self, name: str) -> int:
        """Return the index of a body in the model.

        Raises:
            ValueError: The model has no body of that name.
        """
        try:
            return int(self._model.body(name).id)
        except KeyError:
            raise ValueError(f"the scene has no body '{name}'") from None
