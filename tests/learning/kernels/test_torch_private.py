"""Private operators of torch: only one file names them."""

import re
from pathlib import Path

import sql_ros
from sql_ros.learning.kernels import torch_private

PRIVATE = re.compile(r"torch\.(?:_[a-z]\w*|_C\b|cpu\._\w+|ops\.(?:aten|mkldnn)\.\w+)")


def test_no_other_file_names_private_operators_of_torch():
    package = Path(sql_ros.__file__).parent
    found = {
        f"{path.relative_to(package)}: {name}"
        for path in package.rglob("*.py")
        if path != Path(torch_private.__file__)
        for name in PRIVATE.findall(path.read_text())
    }
    assert not found


def test_every_private_operator_is_described_in_the_list():
    names = set(vars(torch_private)) - {"TESTED_TORCH_VERSION", "annotations", "torch"}
    public = {name for name in names if not name.startswith("__")}
    assert {name for name in public if f"`{name}`" not in torch_private.__doc__} == set()
