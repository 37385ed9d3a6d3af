"""Soft Q-learning for real robot arms over ROS 2.

``sql`` is soft Q-learning (Haarnoja et al. 2017), not the database language. The layers, an import points only downwards:
``nodes``, ``cli`` -> ``runs`` -> ``robot``, ``sim``, ``envs`` -> ``core``.
"""

import os

if "DISPLAY" not in os.environ:
    os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is first imported; without a display its default cannot render

__version__ = "0.1.0"
