"""The arm, its tasks, and the commands that may be sent to it.

This package uses numpy and the kinematics of MuJoCo, and imports neither ROS nor torch.

Terms:

==================  ====================================================================
robot file          YAML file of an arm in config/robots/, see `RobotConfig`
task file           YAML file of a task in config/tasks/, see `TaskConfig`
command mode        quantity of commands: "position", "velocity" or "torque"
control step        computation of one command from the last state, once per period
hold                command that brakes the arm along its way and keeps it at rest; also
                    the time during which holds are sent, for reasons of named kinds (the
                    `hold_s` of a task is something else: time at the goal)
stop                hold that a person or a device caused; it may latch until `~/reset`
start               request `~/start` of a person that lets a held arm move again
steady time         time of the computer's clock that is never set [s]
control time        steady time, or the time on a simulator's `/clock` [s]
stamp               time of measurement in a state, on the clock of the robot [ns]
latency             time from the measurement of a state to the effect of its command,
                    beyond one period [s]
lateness            time by which a command or step comes later than its deadline [s]
episode             control steps from a start pose towards one target
activation          time from the activation of the actor node to its deactivation
==================  ====================================================================

The letters of shapes are in `sql_ros/learning/__init__.py`.
"""
