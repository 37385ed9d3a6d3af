"""Compile the MJCF of an arm, with the object that its hand holds."""

from __future__ import annotations

import mujoco

from sql_ros.common.data_files import share_folder
from sql_ros.common.errors import ConfigError

# name of a scene's custom text with the MJCF of the object in the hand and the body of the arm that
# it is fixed to
HELD = "held"


def load_model(scene: str) -> mujoco.MjModel:
    """Compile an MJCF, and attach the object that its custom text names to the hand.

    MJCF can include an arm, but cannot attach anything to its hand. So a scene may have
    `<custom><text name="held" data="sim/objects/brick.xml right_hand"/></custom>`. The first body
    of that file becomes a child of the named body of the arm, and all names of the object get the
    prefix "held/".

    Args:
        scene: Path of the MJCF, relative to the share folder.

    Raises:
        ConfigError: The MJCF or that of the object cannot be read, or the custom text is wrong.
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
    """Attach an object to a body of the arm.

    Args:
        spec: MJCF of the scene, which is changed.
        line: Path of the object's MJCF relative to the share folder, a blank, and the name of the
            body.

    Raises:
        ValueError: The line is not of this form, the body is unknown, or the file cannot be read.
    """
    words = line.split()
    if len(words) != 2 or spec.body(words[1]) is None:
        raise ValueError(
            f"the custom text '{HELD}' is '{line}', expected the file of an MJCF and a body of"
            " the arm"
        )
    held = mujoco.MjSpec.from_file(str(share_folder() / words[0]))
    spec.body(words[1]).add_frame().attach_body(held.worldbody.first_body(), f"{HELD}/", "")
