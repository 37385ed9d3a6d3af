"""Soft Q-learning for real robot arms over ROS 2.

``sql`` is soft Q-learning (Haarnoja et al. 2017), not the database language. The layers, an import points only downwards:
``nodes``, ``cli`` -> ``runs`` -> ``robot``, ``sim``, ``envs`` -> ``core``.
"""

import ctypes
import os

if "DISPLAY" not in os.environ and "MUJOCO_GL" not in os.environ:
    # read when mujoco is first imported: without a display its default cannot render, and without the library its import fails
    try:
        ctypes.CDLL("libEGL.so.1")
        os.environ["MUJOCO_GL"] = "egl"
    except OSError:
        pass

# ONNX Runtime reads this when it is imported: no telemetry thread in any process, no files under ~/.cache
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
