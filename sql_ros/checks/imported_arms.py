"""`python -m sql_ros.checks.imported_arms`: import public arms, and train each to reach.

The descriptions are those of example-robot-data on PyPI; this repository has no copy of them. For
each arm `sql-ros import-robot` and `sql-ros up` are run as a user runs them. No file is edited
between them, so the figure `edits` is 0. An arm whose run folder has a result is not trained again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sql_ros.common.child_process import python_words
from sql_ros.common.figures_json import write_figures
from sql_ros.common.markdown import markdown_table

# name of an arm: path of its description in the folder of robots, and its tool ("": the only
# candidate)
ARMS = {
    "panda": ("panda_description/urdf/panda.urdf", "panda_hand_tcp"),
    "so100": ("so_arm_description/urdf/so100.urdf", "gripper"),
    "so101": ("so_arm_description/urdf/so101.urdf", "gripper_frame_link"),
    "z1": ("z1_description/urdf/z1.urdf", "gripperStator"),
    "ur3": ("ur_description/urdf/ur3_robot.urdf", "tool0"),
    "ur5": ("ur_description/urdf/ur5_robot.urdf", "tool0"),
    "ur10": ("ur_description/urdf/ur10_robot.urdf", "tool0"),
    "ur5_gripper": ("ur_description/urdf/ur5_gripper.urdf", "tool0"),
    "xarm7": ("xarm_description/urdf/xarm7.urdf", ""),
    "kinova": ("kinova_description/robots/kinova.urdf", "j2s6s200_end_effector"),
    "talos_left_arm": ("talos_data/robots/talos_left_arm.urdf", "gripper_left_base_link"),
}
LEARNED = 0.95  # least success rate of an arm that has learned to reach
TRANSITIONS = 20_000  # largest number of transitions of a training


@dataclass(frozen=True)
class ImportedArmResult:
    """Result of the import and the training of an arm.

    Attributes:
        name: Key of `ARMS`.
        import_s: Duration of `sql-ros import-robot`, with the picture [s]; 0 if it is not known.
        is_imported: Whether `sql-ros import-robot` ended with exit code 0. True also if the folder
            has a robot.yaml of an earlier import.
        success_rate: Success rate of the run's evaluation, from 0 to 1; 0 without a result.
        robot_minutes: Simulated time of the training [min]; 0 without a result.
    """

    name: str
    import_s: float
    is_imported: bool
    success_rate: float = 0.0
    robot_minutes: float = 0.0


def import_and_train(name: str, robots: Path, out: Path, seed: int) -> ImportedArmResult:
    """Import an arm and train it, and return the result.

    An arm with a robot.yaml is not imported again, and an arm with figures of a run is not trained
    again.

    Args:
        name: Key of `ARMS`.
        robots: Folder of the descriptions.
        out: Folder for the files of all arms. Each arm has a folder with its name there, and logs
            beside this folder.
        seed: Seed of the training.
    """
    description, tool = ARMS[name]
    folder = out / name
    import_s = 0.0
    if not (folder / "robot.yaml").exists():
        began = time.monotonic()
        words = ["import-robot", str(robots / description), "--out", str(folder)]
        is_imported = _run(
            [*words, *(["--tool", tool] if tool else [])], out / f"{name}.import.log"
        )
        import_s = time.monotonic() - began
        (out / f"{name}.import_s").write_text(f"{import_s:.2f}\n")
        if not is_imported:
            shutil.rmtree(folder, ignore_errors=True)
            return ImportedArmResult(name, import_s, is_imported=False)
    figures = folder / "run" / "figures.json"
    if not figures.exists():
        (task,) = folder.glob("*_reach.yaml")
        limit = f"most_transitions:={TRANSITIONS}"
        words = ["up", f"task:={task}", f"run_dir:={folder / 'run'}", limit, f"seed:={seed}"]
        _run(words, out / f"{name}.train.log")
    timed = out / f"{name}.import_s"
    import_s = float(timed.read_text()) if timed.exists() else import_s
    if not figures.exists():
        return ImportedArmResult(name, import_s, is_imported=True)
    result = json.loads(figures.read_text())["figures"]
    return ImportedArmResult(
        name,
        import_s,
        is_imported=True,
        success_rate=float(result.get("success_rate", 0.0)),
        robot_minutes=float(result["robot_minutes"]),
    )


def _run(words: list[str], log: Path) -> bool:
    """Run `sql-ros` in a process of its own.

    Args:
        words: Arguments of `sql-ros`.
        log: File for its output.

    Returns:
        Whether it ended with exit code 0.
    """
    with log.open("w") as file:
        command = [*python_words(), "-m", "sql_ros.cli.main", *words]
        return subprocess.run(command, stdout=file, stderr=file, check=False).returncode == 0


def main() -> int:
    """Import and train the arms; print the table, write the figures; return exit code 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "robots", type=Path, help="folder `robots` of example-robot-data, unpacked or installed"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the arms' files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the trainings (default: 0)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results = []
    for name in ARMS:
        result = import_and_train(name, args.robots, args.out, args.seed)
        results.append(result)
        print(f"{name}: success {result.success_rate:.2f}", file=sys.stderr, flush=True)
    rows = [
        [
            r.name,
            "yes" if r.is_imported else "no",
            f"{r.import_s:.1f}",
            f"{r.success_rate:.2f}",
            f"{r.robot_minutes:.1f}",
        ]
        for r in results
    ]
    header = ["arm", "imported", "import [s]", "success rate", "robot minutes"]
    print(markdown_table(header, rows))
    figures = {
        "arms": float(len(results)),
        "arms_imported": float(sum(r.is_imported for r in results)),
        "arms_learned": float(sum(r.success_rate >= LEARNED for r in results)),
        "import_s_max": max(r.import_s for r in results),
        "edits": 0.0,
    }
    for result in results:
        figures[f"import_s_{result.name}"] = result.import_s
        figures[f"success_rate_{result.name}"] = result.success_rate
        figures[f"robot_minutes_{result.name}"] = result.robot_minutes
    if args.json:
        write_figures(args.json, figures, seed=args.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
