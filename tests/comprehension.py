"""Print random functions and random sentences of the documentation, for a reading by a stranger.

The reader explains each function from its signature and docstring alone, then checks the
explanation against the code: 2, 1 or 0 points. Of each sentence the reader says whether it needed
a second reading.

    python tests/comprehension.py --seed 1
"""

from __future__ import annotations

import argparse
import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEAST_LINES = 6  # of a function; shorter ones explain themselves
LEAST_WORDS = 6  # of a sentence
NO_BREAK = "\u2060"  # a word joiner: no white space to a regular expression


def functions() -> Iterator[str]:
    """Yield file, signature and docstring of every function of the package with a docstring."""
    for path in sorted((ROOT / "sql_ros").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            is_short = (node.end_lineno or 0) - node.lineno < LEAST_LINES
            docstring = ast.get_docstring(node)
            if is_short or docstring is None:
                continue
            returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            signature = f"def {node.name}({ast.unparse(node.args)}){returned}"
            yield f"{path.relative_to(ROOT)}:{node.lineno}\n{signature}\n{docstring}"


def _without_spaces(code: re.Match[str]) -> str:
    """Return a piece of code without white space, so that no sentence ends in it."""
    return code[0].replace(" ", NO_BREAK)


def sentences() -> Iterator[str]:
    """Yield page and text of every sentence outside of code, tables and headings."""
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        paragraphs = [p for p in re.split(r"\n\s*\n|\n(?=[-*] |\d+\. )", text) if p.strip()]
        for paragraph in paragraphs:
            if paragraph.lstrip().startswith(("#", "|", "<", "!")):
                continue
            line = re.sub(r"`[^`]*`", _without_spaces, " ".join(paragraph.split()))
            for sentence in re.split(r"(?<=[.:;])\s+", line):
                if len(sentence.split()) >= LEAST_WORDS:
                    yield f"{page.name}: {sentence.replace(NO_BREAK, ' ')}"


def main() -> None:
    """Print the draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    parser.add_argument("--count", type=int, default=20, help="of each kind (default: 20)")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    for index, function in enumerate(draw.sample(list(functions()), args.count), 1):
        print(f"--- function {index}: {function}\n")
    for index, sentence in enumerate(draw.sample(list(sentences()), args.count), 1):
        print(f"--- sentence {index}: {sentence}")


if __name__ == "__main__":
    main()
