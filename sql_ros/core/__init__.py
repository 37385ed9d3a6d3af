"""The algorithm: numpy, torch and ONNX. No ROS, no MuJoCo.

Legend of the letters in shape comments, used in the whole package:

====  =====================================================================
B     batch: states drawn from the replay buffer
K     particles per state: candidates, fixed particles (index j in [SQL17])
M     updated particles per state (index i in [SQL17])
S     size of the observation
A     size of the action, every component in [-1, 1]
N     joints of the arm
====  =====================================================================

Sources: [SQL17] Haarnoja et al., Reinforcement Learning with Deep Energy-Based Policies, ICML 2017, arXiv 1702.08165.
[SVGD16] Liu and Wang, Stein Variational Gradient Descent, NIPS 2016.

``networks``, ``losses``, ``stein``, ``proposals``, ``learner``, ``trainer``, ``export`` and ``checkpoint`` import torch; the rest of this
folder runs on a robot's PC and never does.
"""
