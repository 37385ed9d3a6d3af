"""The algorithm: losses, sampler, learner, replay, checkpoints, export.

Uses torch, but neither ROS nor MuJoCo.

Legend of the letters in shape comments, used in the whole package:

====  =====================================================================
B     batch: states drawn from the replay buffer
K     particles per state: candidates, value particles, fixed particles (index j in [SQL17])
M     updated particles per state (index i in [SQL17])
C     Gaussians of the mixture sampler
H     units of a hidden layer
S     size of the observation
A     size of the action, every component in [-1, 1]
N     joints of the arm; in ``learning``: Q-networks that are evaluated together
====  =====================================================================

Symbols of [SQL17] beside its equations:

=====  ====================================================================
alpha  temperature: reward per nat of entropy
gamma  discount
s, a   state (as observed), action
r, s'  reward of a transition, its next state
u      latent of an action, a = squash(u) (``squash``)
xi     standard normal noise, the input of the sampler
pi     policy, exp((Q - V) / alpha) where it is optimal
q      density of the proposal at whose actions V is estimated (``proposals``)
=====  ====================================================================

Sources: [SQL17] Haarnoja et al., Reinforcement Learning with Deep Energy-Based Policies, ICML 2017,
arXiv 1702.08165. [SVGD16] Liu and Wang, Stein Variational Gradient Descent, NIPS 2016. [C18]
Haarnoja et al., Composable Deep Reinforcement Learning for Robotic Manipulation, ICRA 2018, arXiv
1803.06773.

``algorithm``, ``replay``, ``resources``, ``resume``, ``preflight`` and ``checkpoint_manifest`` run
on a robot's PC and never import torch.
"""
