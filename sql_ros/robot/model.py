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
                _put_into_hand(spec, text.data)
        return spec.compile()
    except ValueError as error:
        raise ConfigError(f"MJCF {path}: {error}") from None


def _put_into_hand(spec: mujoco.MjSpec, line: str) -> None:
    words = line.split()
    if len(words) != 2 or spec.body(words[1]) is None:
        raise ValueError(f"the custom text '{HELD}' is '{line}', expected the file of an MJCF and a body of the arm")
    held = mujoco.MjSpec.from_file(str(share_folder() / words[0]))
    spec.body(words[1]).add_frame().attach_body(held.worldbody.first_body(), f"{HELD}/", "")
