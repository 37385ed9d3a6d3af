"""ament_python package: built by `colcon build` and by `pip install .` alike."""

import os
from glob import glob

from setuptools import find_packages, setup

# Ranges, which a distribution's packages may satisfy; requirements/constraints.txt has the versions
# that were tested together.
ROBOT = [
    "numpy>=1.26,<3",
    "PyYAML>=6.0",
    "mujoco>=3.3,<5",
    "onnxruntime>=1.17,<2",
    "onnx>=1.16,<2",
    "daqp>=0.6",
]
ROBOT += ["ml_dtypes<0.6"]  # which onnx takes: 0.6 replaces a distribution's numpy 1.26 by numpy 2
ROS = [  # rclpy and messages as PyPI wheels, for machines without a ROS 2 installation
    "ros-rclpy[fastrtps]~=7.1.6",
    "ros-std-msgs~=5.3.0",
    "ros-sensor-msgs~=5.3.0",
    "ros-geometry-msgs~=5.3.0",
    "ros-std-srvs~=5.3.0",
    "ros-diagnostic-msgs~=5.3.0",
    "ros-rosgraph-msgs~=2.0.0",
    "ros-lifecycle-msgs~=2.0.0",
    "ros-trajectory-msgs~=5.3.0",
]
REPORT = [
    "gymnasium>=1.0",
    "matplotlib>=3.6",
    "pillow>=10.0",
    "rich>=13.0",
    "markdown-it-py>=2.2",  # which rich takes, too: report.html
]
LEARNER = ["torch>=2.5,<3", "safetensors>=0.4"]
PAGE = ["websockets>=14.0"]
# compared with, on, and looked at by
BENCH = ["stable_baselines3>=2.7", "gymnasium[mujoco]>=1.0", "matplotlib>=3.6", "tensorboard>=2.15"]
# the documentation site. Pinned: another version of the theme may load files from the network, and
# another version of mkdocs may check fewer links
DOCS = ["mkdocs==1.6.1", "mkdocs-material==9.8.2", "mkdocstrings-python==2.0.11"]
TEST = [
    "pytest>=8.0",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.5",
    "hypothesis>=6.100",
    "coverage>=7.10",
    "ruff==0.17.5",
    "mypy==2.4.1",
    "types-PyYAML",
    "xacro>=2.0",
]


def tree(folder):
    """All that lies under a folder, to lie so under share/sql_ros: also what an arm of your own
    brings, such as meshes.
    """
    return [
        (f"share/sql_ros/{path}", [f"{path}/{name}" for name in names])
        for path, _, names in os.walk(folder)
        if names
    ]


setup(
    name="sql_ros",
    version="0.2.0",
    description="Soft Q-learning for real robot arms over ROS 2",
    license="Apache-2.0",
    packages=find_packages(include=["sql_ros", "sql_ros.*"]),
    # An editable install then puts this folder on the path. Without this line it installs an import
    # hook, which comes after the path: the folder above a checkout `sql_ros` hides the package.
    package_dir={"": "."},
    package_data={"sql_ros": ["py.typed", "page/static/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/sql_ros"]),
        ("share/sql_ros", ["package.xml"]),
        ("share/sql_ros/launch", glob("launch/*.launch.py")),
        *tree("config"),
        *tree("sim"),
        # ros2 run and ros2 launch look for executables here; pip does not put console scripts there
        ("lib/sql_ros", glob("scripts/*")),
    ],
    python_requires=">=3.10",
    install_requires=["setuptools", *ROBOT],
    extras_require={
        "ros": ROS,
        "report": REPORT,
        "learner": LEARNER,
        "bench": BENCH,
        "page": PAGE,
        "docs": DOCS,
        "test": TEST,
        "all": ROS + REPORT + LEARNER + PAGE,
    },
    entry_points={"console_scripts": ["sql-ros = sql_ros.cli.main:main"]},
    zip_safe=False,
)
