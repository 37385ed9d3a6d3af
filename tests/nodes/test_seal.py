"""Signatures: what is taken and what is not, message by message."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sql_ros.core.errors import SignatureError
from sql_ros.core.keys import make_key
from sql_ros.core.replay import Transition
from sql_ros.nodes.messages import (
    Progress,
    ReplayEntry,
    TransitionCodec,
    policy_from_msg,
    policy_to_msg,
    progress_from_msg,
    progress_to_msg,
)
from sql_ros.nodes.seal import Followed, Seal, new_session

SESSION = 2**62 + 5


@pytest.fixture(scope="module")
def key_file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("keys") / "key"
    make_key(path)
    return str(path)


@pytest.fixture
def seal(key_file) -> Seal:
    return Seal(key_file)


def _transition(spec):
    codec, zeros = TransitionCodec(spec), np.zeros(spec.observation_size, np.float32)
    entry = ReplayEntry(0, 7, 1, 1, 1, 0, Transition(zeros, np.zeros(spec.action_size, np.float32), 1.5, zeros, False, False))
    return codec.to_msg(entry)


def _progress(updates: int = 3):
    return progress_to_msg(Progress(1, updates, 0, {7: 1}))


@pytest.mark.parametrize("kind", ["transition", "policy", "progress"])
def test_what_is_signed_is_taken_and_reads_as_before(seal, small_spec, kind):
    codec = TransitionCodec(small_spec)
    made, read = {
        "transition": (_transition(small_spec), lambda m: codec.pack(codec.from_msg(m))),
        "policy": (policy_to_msg(b"a file"), policy_from_msg),
        "progress": (_progress(), progress_from_msg),
    }[kind]
    before = read(made)
    mark = seal.open(seal.sign(made, SESSION))
    assert mark.session == SESSION
    assert abs(mark.stamp_ns - time.time_ns()) < 60e9
    assert read(made) == before


@given(byte=st.integers(0), bit=st.integers(0, 7))
def test_any_altered_bit_of_the_data_is_refused(key_file, byte, bit):
    seal = Seal(key_file)
    message = seal.sign(policy_to_msg(b"what the arm is to do"), SESSION)
    message.data[byte % len(message.data)] ^= 1 << bit
    with pytest.raises(SignatureError, match="signature is wrong"):
        seal.open(message)


@given(label=st.integers(0, 2), place=st.integers(0), letter=st.characters(codec="ascii"))
def test_any_altered_letter_of_a_label_is_refused(key_file, small_spec, label, place, letter):
    seal = Seal(key_file)
    message = seal.sign(_transition(small_spec), SESSION)
    dimension = message.layout.dim[label]
    place %= len(dimension.label)
    if dimension.label[place] != letter:
        dimension.label = dimension.label[:place] + letter + dimension.label[place + 1 :]
        with pytest.raises(SignatureError):
            seal.open(message)


def test_one_signature_does_not_do_for_another_message(seal):
    first, second = seal.sign(_progress(3), SESSION), seal.sign(_progress(4), SESSION)
    first.data, second.data = second.data, first.data
    for message in (first, second):
        with pytest.raises(SignatureError, match="signature is wrong"):
            seal.open(message)


def test_what_is_not_signed_or_by_another_key_is_refused(seal, tmp_path):
    make_key(tmp_path / "other")
    with pytest.raises(SignatureError, match="it is not signed"):
        seal.open(_progress())
    with pytest.raises(SignatureError, match="signature is wrong"):
        seal.open(Seal(str(tmp_path / "other")).sign(_progress(), SESSION))
    bare = _progress()
    bare.layout.dim = []
    with pytest.raises(SignatureError, match="it is not signed"):
        seal.open(bare)


def test_without_a_key_nothing_is_signed_and_nothing_signed_is_taken(seal):
    keyless = Seal("")
    assert progress_from_msg(keyless.sign(_progress(), SESSION)) == progress_from_msg(_progress())
    keyless.open(_progress())
    with pytest.raises(SignatureError, match="no key: parameter 'key_file'"):
        keyless.open(seal.sign(_progress(), SESSION))


def test_recorded_progress_is_refused(seal):
    early = seal.sign(_progress(), SESSION)
    followed = Followed(seal)
    with pytest.raises(SignatureError, match="recorded, or clocks of hosts differ"):
        followed.open_progress(early)
    message = seal.sign(_progress(), SESSION)
    layout = message.layout
    followed.open_progress(message)
    assert followed.session == SESSION
    message.layout = layout
    with pytest.raises(SignatureError, match="recorded"):
        followed.open_progress(message)


def test_a_policy_waits_for_its_learner(seal):
    followed, policy = Followed(seal), policy_to_msg(b"a file")
    seal.sign(policy, SESSION)
    assert not followed.open_policy(policy)
    followed.open_progress(seal.sign(_progress(), SESSION))
    held = followed.take_held()
    assert followed.open_policy(held)
    assert policy_from_msg(held) == b"a file"
    assert followed.take_held() is None


def test_policies_of_a_learner_that_is_gone_and_recorded_ones_are_refused(seal):
    followed, gone = Followed(seal), new_session()
    old, first, second = (policy_to_msg(content) for content in (b"old", b"first", b"second"))
    seal.sign(old, gone)
    seal.sign(first, SESSION)
    seal.sign(second, SESSION)
    followed.open_progress(seal.sign(_progress(), SESSION))
    recorded = first.layout
    with pytest.raises(SignatureError, match="not there any more"):
        followed.open_policy(old)
    assert followed.open_policy(first)
    assert followed.open_policy(second)
    first.layout = recorded
    with pytest.raises(SignatureError, match="recorded"):
        followed.open_policy(first)


def test_a_learner_that_was_started_again_is_followed(seal):
    followed, next_session = Followed(seal), new_session()
    followed.open_progress(seal.sign(_progress(), SESSION))
    policy = seal.sign(policy_to_msg(b"its first"), next_session)
    assert not followed.open_policy(policy)
    followed.open_progress(seal.sign(_progress(), next_session))
    assert followed.open_policy(followed.take_held())
