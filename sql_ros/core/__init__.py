"""The algorithm: numpy, torch and ONNX. No ROS, no MuJoCo.

Legend of the letters in shape comments, used in the whole package:

====  =====================================================================
B     batch: states drawn from the replay buffer
K     particles per state: candidates, probes of V, fixed particles (index j in [SQL17])
M     updated particles per state (index i in [SQL17])
C     Gaussians of the mixture sampler
H     units of a hidden layer
S     size of the observation
A     size of the action, every component in [-1, 1]
N     joints of the arm; in ``networks``: Q-networks that are evaluated together
====  =====================================================================

Sources: [SQL17] Haarnoja et al., Reinforcement Learning with Deep Energy-Based Policies, ICML 2017, arXiv 1702.08165.
[SVGD16] Liu and Wang, Stein Variational Gradient Descent, NIPS 2016.

``config``, ``errors``, ``policy``, ``replay`` and ``spec`` run on a robot's PC and never import torch; the rest of this folder trains.
"""
