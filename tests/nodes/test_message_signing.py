"""Signatures: what is taken and what is not, message by message."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sql_ros.common.errors import SignatureError
from sql_ros.common.shared_key import make_key
from sql_ros.nodes.message_signing import FollowedLearner, MessageSigner, new_session
from sql_ros.nodes.messages import (
    Progress,
    ReplayEntry,
    TransitionCodec,
    policy_from_msg,
    policy_to_msg,
    progress_from_msg,
    progress_to_msg,
)
from sql_ros.policy.transition import Transition

SESSION = 2**62 + 5


@pytest.fixture(scope="module")
def key_file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("keys") / "key"
    make_key(path)
    return str(path)


@pytest.fixture
def signer(key_file) -> MessageSigner:
    return MessageSigner(key_file)


def _transition(spec):
    codec, zeros = TransitionCodec(spec), np.zeros(spec.observation_size, np.float32)
    entry = ReplayEntry(
        0,
        7,
        1,
        1,
        1,
        0,
        Transition(zeros, np.zeros(spec.action_size, np.float32), 1.5, zeros, False, False),
    )
    return codec.to_msg(entry)


def _progress(updates: int = 3):
    return progress_to_msg(Progress(1, updates, 0, {7: 1}))


@pytest.mark.parametrize("kind", ["transition", "policy", "progress"])
def test_what_is_signed_is_taken_and_reads_as_before(signer, small_spec, kind):
    codec = TransitionCodec(small_spec)
    made, read = {
        "transition": (_transition(small_spec), lambda m: codec.pack(codec.from_msg(m))),
        "policy": (policy_to_msg(b"a file"), policy_from_msg),
        "progress": (_progress(), progress_from_msg),
    }[kind]
    before = read(made)
    signature = signer.verify(signer.sign(made, SESSION))
    assert signature.session == SESSION
    assert abs(signature.stamp_ns - time.time_ns()) < 60e9
    assert read(made) == before


@given(byte=st.integers(0), bit=st.integers(0, 7))
def test_any_altered_bit_of_the_data_is_refused(key_file, byte, bit):
    signer = MessageSigner(key_file)
    message = signer.sign(policy_to_msg(b"what the arm is to do"), SESSION)
    message.data[byte % len(message.data)] ^= 1 << bit
    with pytest.raises(SignatureError, match="signature is wrong"):
        signer.verify(message)


@given(label=st.integers(0, 2), place=st.integers(0), letter=st.characters(codec="ascii"))
def test_any_altered_letter_of_a_label_is_refused(key_file, small_spec, label, place, letter):
    signer = MessageSigner(key_file)
    message = signer.sign(_transition(small_spec), SESSION)
    dimension = message.layout.dim[label]
    place %= len(dimension.label)
    if dimension.label[place] != letter:
        dimension.label = dimension.label[:place] + letter + dimension.label[place + 1 :]
        with pytest.raises(SignatureError):
            signer.verify(message)


def test_one_signature_does_not_do_for_another_message(signer):
    first, second = signer.sign(_progress(3), SESSION), signer.sign(_progress(4), SESSION)
    first.data, second.data = second.data, first.data
    for message in (first, second):
        with pytest.raises(SignatureError, match="signature is wrong"):
            signer.verify(message)


def test_what_is_not_signed_or_by_another_key_is_refused(signer, tmp_path):
    make_key(tmp_path / "other")
    with pytest.raises(SignatureError, match="it is not signed"):
        signer.verify(_progress())
    with pytest.raises(SignatureError, match="signature is wrong"):
        signer.verify(MessageSigner(str(tmp_path / "other")).sign(_progress(), SESSION))
    bare = _progress()
    bare.layout.dim = []
    with pytest.raises(SignatureError, match="it is not signed"):
        signer.verify(bare)


def test_without_a_key_nothing_is_signed_and_nothing_signed_is_taken(signer):
    keyless = MessageSigner("")
    assert progress_from_msg(keyless.sign(_progress(), SESSION)) == progress_from_msg(_progress())
    keyless.verify(_progress())
    with pytest.raises(SignatureError, match="no key: parameter 'key_file'"):
        keyless.verify(signer.sign(_progress(), SESSION))


def test_recorded_progress_is_refused(signer):
    early = signer.sign(_progress(), SESSION)
    followed = FollowedLearner(signer)
    with pytest.raises(SignatureError, match="recorded, or clocks of hosts differ"):
        followed.verify_progress(early)
    message = signer.sign(_progress(), SESSION)
    layout = message.layout
    followed.verify_progress(message)
    assert followed.session == SESSION
    message.layout = layout
    with pytest.raises(SignatureError, match="recorded"):
        followed.verify_progress(message)


def test_a_policy_waits_for_its_learner(signer):
    followed, policy = FollowedLearner(signer), policy_to_msg(b"a file")
    signer.sign(policy, SESSION)
    assert not followed.verify_policy(policy)
    followed.verify_progress(signer.sign(_progress(), SESSION))
    held = followed.take_waiting_policy()
    assert followed.verify_policy(held)
    assert policy_from_msg(held) == b"a file"
    assert followed.take_waiting_policy() is None


def test_policies_of_a_learner_that_is_gone_and_recorded_ones_are_refused(signer):
    followed, gone = FollowedLearner(signer), new_session()
    old, first, second = (policy_to_msg(content) for content in (b"old", b"first", b"second"))
    signer.sign(old, gone)
    signer.sign(first, SESSION)
    signer.sign(second, SESSION)
    followed.verify_progress(signer.sign(_progress(), SESSION))
    recorded = first.layout
    with pytest.raises(SignatureError, match="from an earlier learner"):
        followed.verify_policy(old)
    assert followed.verify_policy(first)
    assert followed.verify_policy(second)
    first.layout = recorded
    with pytest.raises(SignatureError, match="recorded"):
        followed.verify_policy(first)


def test_a_learner_that_was_started_again_is_followed(signer):
    followed, next_session = FollowedLearner(signer), new_session()
    followed.verify_progress(signer.sign(_progress(), SESSION))
    policy = signer.sign(policy_to_msg(b"its first"), next_session)
    assert not followed.verify_policy(policy)
    followed.verify_progress(signer.sign(_progress(), next_session))
    assert followed.verify_policy(followed.take_waiting_policy())
