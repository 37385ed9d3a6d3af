"""The safety filter with its models, and the reasons to hold an arm.

Letters of shapes, beside those of `sql_ros/learning/__init__.py`:

====  ==============================================================================
C     constraints: pairs of shapes, guarded points and walls or boxes, see `Clearance`
G     geoms of a MuJoCo model
P     pairs of geoms, or points on the arm
R     constraints of a quadratic programme
S     poses
W     constraints that are measured
====  ==============================================================================
"""
