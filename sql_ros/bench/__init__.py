"""How fast the learner is: against a port of the published update, against SAC of stable-baselines3, and against its own products."""
