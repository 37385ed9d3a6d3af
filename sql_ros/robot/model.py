"""Loads the MJCF of an arm and what it holds."""

from __future__ import annotations

import mujoco

from sql_ros.core.errors import ConfigError
from sql_ros.share import share_folder

HELD = "held"  # a scene's custom text of this name: the MJCF of what is in the hand, and the body of the arm that it is fixed to


def load_model(scene: str) -> mujoco.MjModel:
    """Compiles an MJCF, relative to the share folder.

    MJCF can include an arm, but cannot put anything into its hand. So a scene may say
    `<custom><text name="held" data="sim/objects/brick.xml right_hand"/></custom>`: the first body of that file becomes a child of that
    body of the arm, and all its names get the prefix "held/".

    Raises:
        ConfigError: it cannot be read.
    """
    path = share_folder() / scene
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        for text in spec.texts:
            if text.name == HELD:
                held, body = text.data.split()
                spec.body(body).add_frame().attach_body(
                    mujoco.MjSpec.from_file(str(share_folder() / held)).worldbody.first_body(), f"{HELD}/", ""
                )
        return spec.compile()
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"MJCF {path}: {error}") from None
